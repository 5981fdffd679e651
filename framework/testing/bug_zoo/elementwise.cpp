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

}  // namespace

Exercises elementwise_exercises(Generator& generator) { return {tanh_exercise(generator), relu_exercise(generator)}; }

}  // namespace gradus::testing::zoo
