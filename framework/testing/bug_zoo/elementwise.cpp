// Functions of one element: dx = g f'(x). The mistakes are in f' or in where it is taken.
#include <algorithm>
#include <cmath>
#include <memory>

#include "framework/tensor/creation.h"
#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {
namespace {

using Function = double (*)(double x);
using Derivative = double (*)(double x, double y);

Forward each(Function f) {
  return [=](const Arrays& in) {
    Array y = in[0];
    for (double& value : y.values) value = f(value);
    return Arrays{y};
  };
}

/// g * derivative(x, y) for each element, with y = f(x).
Backward chain(Function f, Derivative derivative) {
  return [=](const Arrays& in, const Arrays& up) {
    Array dx = up[0];
    for (int at = 0; at < dx.size(); ++at) dx[at] *= derivative(in[0][at], f(in[0][at]));
    return Arrays{dx};
  };
}

Exercise tanh_exercise(Generator& generator) {
  const Function f = [](double x) { return std::tanh(x); };
  const Backward right = chain(f, [](double, double y) { return 1 - y * y; });
  return {"tanh",
          {"x"},
          {"y"},
          {normal(generator, {3, 5})},
          each(f),
          right,
          {
              {"derivative at the input", "1 - x^2 where 1 - y^2 is meant: saved the input, not the output",
               Cause::wrong_point, chain(f, [](double x, double) { return 1 - x * x; })},
              {"derivative at the output", "1 - tanh(y)^2: applies the function once more to the saved output",
               Cause::wrong_point, chain(f, [](double, double y) { return 1 - std::tanh(y) * std::tanh(y); })},
              {"zero", "returns a fresh buffer of zeros", Cause::zero, scaled(right, 0)},
              {"sign", "y^2 - 1", Cause::sign, chain(f, [](double, double y) { return y * y - 1; })},
              {"upstream gradient ignored", "returns the derivative itself", Cause::upstream_ignored,
               ignoring_upstream(right)},
          }};
}

Exercise relu_exercise(Generator& generator) {
  const Function f = [](double x) { return x > 0 ? x : 0.0; };
  const Backward right = chain(f, [](double x, double) { return x > 0 ? 1.0 : 0.0; });
  return {
      "relu",
      {"x"},
      {"y"},
      {normal_away_from(generator, {3, 5}, {0})},
      each(f),
      right,
      {
          {"passes everything", "hands the upstream gradient on where the input is negative, too", Cause::wrong_where,
           chain(f, [](double, double) { return 1.0; })},
          {"twice", "2 where the input is positive, as for the square of a root", Cause::constant_factor,
           scaled(right, 2)},
          {"first row only", "forgets the loop over rows", Cause::some_parts, one_row_only(right, 0), {Cause::zero}},
          {"upstream gradient ignored", "returns the mask itself", Cause::upstream_ignored, ignoring_upstream(right)},
          {"upstream gradient clipped at zero", "hands on only what is positive, as guided backpropagation does",
           Cause::not_linear,
           [=](const Arrays& in, const Arrays& up) {
             Array positive = up[0];
             for (double& g : positive.values) g = std::max(g, 0.0);
             return right(in, {positive});
           }},
      }};
}

// --- sine, with mistakes that depend on the place or on the size of an element ---

/// factor(element, x) times the gradient.
template <class Factor>
Backward times_factor(Backward right, Factor factor) {
  return [=](const Arrays& in, const Arrays& up) {
    Arrays gradients = right(in, up);
    for (int at = 0; at < gradients[0].size(); ++at) gradients[0][at] *= factor(at, in[0][at]);
    return gradients;
  };
}

Exercise sine_exercise(Generator& generator) {
  const Function f = [](double x) { return std::sin(x); };
  const Backward right = chain(f, [](double x, double) { return std::cos(x); });
  return {"sine",
          {"x"},
          {"y"},
          {random_uniform({5, 7}, generator, DType::f64, -2, 2)},
          each(f),
          right,
          {
              {"one element", "writes to one element twice", Cause::single_element,
               times_factor(right, [](int at, double) { return at == 13 ? 2 : 1; })},
              {"remainder of the vectors", "the loop over what is left after vectors of 16 has another formula",
               Cause::boundary,
               [=](const Arrays& in, const Arrays& up) {
                 Arrays gradients = right(in, up);
                 for (int at = 32; at < gradients[0].size(); ++at) gradients[0][at] = up[0][at] * std::sin(in[0][at]);
                 return gradients;
               }},
              {"last row twice", "the last row is done by two threads", Cause::some_places,
               times_factor(right, [](int at, double) { return at >= 28 ? 2 : 1; })},
              {"one lane of four", "one lane of a vector of four has the wrong sign", Cause::some_places,
               times_factor(right, [](int at, double) { return at % 4 == 3 ? -1 : 1; })},
              {"beyond a value", "another formula from 1 on, a tenth too large", Cause::wrong_where,
               times_factor(right, [](int, double x) { return x > 1 ? 1.1 : 1; })},
              {"clipped", "no element may be larger than a limit", Cause::clipped,
               [=](const Arrays& in, const Arrays& up) {
                 Arrays gradients = right(in, up);
                 for (double& value : gradients[0].values) value = std::clamp(value, -1e-8, 1e-8);
                 return gradients;
               }},
          }};
}

// --- leaky relu: an attribute ---

Forward leaky_relu(double slope) {
  return [=](const Arrays& in) {
    Array y = in[0];
    for (double& value : y.values) value *= value > 0 ? 1 : slope;
    return Arrays{y};
  };
}

Backward leaky_relu_backward(double slope) {
  return [=](const Arrays& in, const Arrays& up) {
    Array dx = up[0];
    for (int at = 0; at < dx.size(); ++at) dx[at] *= in[0][at] > 0 ? 1 : slope;
    return Arrays{dx};
  };
}

/// `right` as one that has an attribute, 0.2 where it is used and 0.01 where nobody sets it.
void with_slope(Subject& right) {
  right.attributes = {{.name = "slope", .value = 0.2, .usual = 0.01, .at = [right](double slope) {
                         Subject other = right;
                         other.forward = [slope](const Tensors& inputs) {
                           return Tensors{to_tensor(leaky_relu(slope)({to_array(inputs[0])})[0])};
                         };
                         return other;
                       }}};
}

Exercise leaky_relu_exercise(Generator& generator) {
  const Damage usual_slope = [](Subject& right) {
    with_slope(right);
    right.backward = [](const Tensors& inputs, const Tensors& cotangents) {
      const Array up = cotangents[0].defined() ? to_array(cotangents[0]) : Array(inputs[0].shape());
      return Tensors{to_tensor(leaky_relu_backward(0.01)({to_array(inputs[0])}, {up})[0])};
    };
  };
  return {"leaky_relu",
          {"x"},
          {"y"},
          {normal_away_from(generator, {3, 5}, {0})},
          leaky_relu(0.2),
          leaky_relu_backward(0.2),
          {
              {"attribute ignored", "has 0.01, the usual slope, where the attribute belongs", Cause::attribute_ignored,
               usual_slope},
          }};
}

}  // namespace

Exercises elementwise_exercises(Generator& generator) {
  Exercises exercises = {tanh_exercise(generator), relu_exercise(generator)};
  exercises.push_back(sine_exercise(generator));
  exercises.push_back(leaky_relu_exercise(generator));
  return exercises;
}

}  // namespace gradus::testing::zoo
