// Values that are used more than once, and functions with more than one output: whatever comes back has to be added up.
#include <cmath>

#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {
namespace {

// --- y = x x^T: the same matrix on both sides ---

Exercise gram_exercise(Generator& generator) {
  /// Row i of x appears on the left of y[i][j], row j on the right.
  const auto backward = [](bool left, bool right) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      const Array &x = in[0], &g = up[0];
      Array dx(x.shape);
      for (int i = 0; i < g.rows(); ++i)
        for (int j = 0; j < g.columns(); ++j)
          for (int c = 0; c < x.columns(); ++c) {
            if (left) dx(i, c) += g(i, j) * x(j, c);
            if (right) dx(j, c) += g(i, j) * x(i, c);
          }
      return Arrays{dx};
    };
  };
  return {"gram",
          {"x"},
          {"y"},
          {normal(generator, {3, 4})},
          [](const Arrays& in) {
            const Array& x = in[0];
            Array y({x.rows(), x.rows()});
            for (int i = 0; i < x.rows(); ++i)
              for (int j = 0; j < x.rows(); ++j)
                for (int c = 0; c < x.columns(); ++c) y(i, j) += x(i, c) * x(j, c);
            return Arrays{y};
          },
          backward(true, true),
          {
              {"left factor only", "differentiates x x^T as if the right one were a constant", Cause::last_use_only,
               backward(true, false)},
              {"right factor only", "the gradient of the second use overwrites that of the first", Cause::last_use_only,
               backward(false, true)},
          }};
}

// --- a residual block: y = x + tanh(x) ---

Exercise residual_exercise(Generator& generator) {
  const auto backward = [](double skip, double branch) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      Array dx = up[0];
      for (int at = 0; at < dx.size(); ++at) {
        const double t = std::tanh(in[0][at]);
        dx[at] *= skip + branch * (1 - t * t);
      }
      return Arrays{dx};
    };
  };
  return {"residual",
          {"x"},
          {"y"},
          {normal(generator, {3, 4})},
          [](const Arrays& in) {
            Array y = in[0];
            for (double& value : y.values) value += std::tanh(value);
            return Arrays{y};
          },
          backward(1, 1),
          {
              {"skip connection overwritten", "assigns the branch's gradient over that of the skip connection",
               Cause::last_use_only, backward(0, 1)},
              {"branch overwritten",
               "assigns the skip connection's gradient over that of the branch",
               Cause::last_use_only,
               backward(1, 0),
               {Cause::missing_factor}},
              {"skip connection counted twice", "adds the upstream gradient in the block and again around it",
               Cause::last_use_only, backward(2, 1)},
          }};
}

// --- a recurrence: y[t] = w y[t-1] + x[t] ---

Arrays recurrence(const Arrays& in) {
  Array y = in[0];
  for (int t = 1; t < y.size(); ++t) y[t] += in[1][0] * y[t - 1];
  return {y};
}

/// The state's gradient travels back times `through`.
template <class Through>
Backward recurrence_with(Through through) {
  return [=](const Arrays& in, const Arrays& up) {
    const Array y = recurrence(in)[0];
    Array dx = up[0], dw(in[1].shape);
    for (int t = static_cast<int>(dx.size()) - 1; t > 0; --t) {
      dx[t - 1] += through(in[1][0]) * dx[t];
      dw[0] += dx[t] * y[t - 1];
    }
    return Arrays{dx, dw};
  };
}

Exercise recurrence_exercise(Generator& generator) {
  const Backward right = recurrence_with([](double w) { return w; });
  return {"recurrence",
          {"x", "w"},
          {"y"},
          {normal(generator, {5}), normal_away_from(generator, {}, {-1, 0, 1})},
          recurrence,
          right,
          {
              {"state cut off", "hands nothing back to the step before", Cause::diagonal_only,
               recurrence_with([](double) { return 0.0; })},
              {"weight of the last step only",
               "assigns the weight's gradient at every step",
               Cause::last_use_only,
               [=](const Arrays& in, const Arrays& up) {
                 const Arrays gradients = right(in, up);
                 Array dw(in[1].shape);
                 dw[0] = gradients[0][1] * recurrence(in)[0][0];
                 return Arrays{gradients[0], dw};
               },
               {Cause::unknown}},
          }};
}

// --- running sums: y[t] = x[0] + ... + x[t] ---

Exercise running_sum_exercise(Generator& generator) {
  const auto running_sum = [](const Array& x) {
    Array y = x;
    for (int t = 1; t < y.size(); ++t) y[t] += y[t - 1];
    return Arrays{y};
  };
  const auto from_the_end = [](const Array& g, bool itself) {
    Array dx(g.shape);
    double sum = 0;
    for (int t = static_cast<int>(g.size()) - 1; t >= 0; --t) {
      dx[t] = sum + (itself ? g[t] : 0);
      sum += g[t];
    }
    return Arrays{dx};
  };
  return {"running_sum",
          {"x"},
          {"y"},
          {normal(generator, {6})},
          [=](const Arrays& in) { return running_sum(in[0]); },
          [=](const Arrays&, const Arrays& up) { return from_the_end(up[0], true); },
          {
              {"summed from the front", "takes running sums of the upstream gradient, as forward does of x",
               Cause::transposed, [=](const Arrays&, const Arrays& up) { return running_sum(up[0]); }},
              {"own place left out", "adds the upstream gradient to the sum one step too late", Cause::wrong_order,
               [=](const Arrays&, const Arrays& up) { return from_the_end(up[0], false); }},
          }};
}

// --- two outputs: radius and angle of (x, y) ---

struct PolarBackward {
  bool radius = true, angle = true, exchanged = false;

  Arrays operator()(const Arrays& in, const Arrays& up) const {
    Array dx(in[0].shape), dy(in[0].shape);
    for (int at = 0; at < dx.size(); ++at) {
      const double x = in[0][at], y = in[1][at], r = std::hypot(x, y);
      const double of_radius = radius ? up[exchanged ? 1 : 0][at] : 0, of_angle = angle ? up[exchanged ? 0 : 1][at] : 0;
      dx[at] = of_radius * x / r - of_angle * y / (r * r);
      dy[at] = of_radius * y / r + of_angle * x / (r * r);
    }
    return {dx, dy};
  }
};

/// An output that nothing depends on has no upstream gradient; here it is given ones.
void ones_for_nothing(Subject& right) {
  right.backward = [backward = right.backward](const Tensors& inputs, const Tensors& cotangents) {
    Tensors given = cotangents;
    for (Tensor& cotangent : given)
      if (!cotangent.defined()) cotangent = to_tensor(Array(inputs[0].shape(), 1));
    return backward(inputs, given);
  };
}

Exercise polar_exercise(Generator& generator) {
  return {"polar",
          {"x", "y"},
          {"radius", "angle"},
          {normal_away_from(generator, {5}, {0}), normal_away_from(generator, {5}, {0})},
          [](const Arrays& in) {
            Array radius = in[0], angle = in[0];
            for (int at = 0; at < radius.size(); ++at) {
              radius[at] = std::hypot(in[0][at], in[1][at]);
              angle[at] = std::atan2(in[1][at], in[0][at]);
            }
            return Arrays{radius, angle};
          },
          PolarBackward{},
          {
              {"second output ignored", "uses the upstream gradient of the first output only",
               Cause::upstream_partly_used, PolarBackward{.angle = false}},
              {"first output ignored", "the gradient of the second output overwrites that of the first",
               Cause::upstream_partly_used, PolarBackward{.radius = false}},
              {"upstream gradients swapped", "takes the upstream gradients in the opposite order",
               Cause::upstream_partly_used, PolarBackward{.exchanged = true}},
              {"ones for an output without gradient", "takes a missing upstream gradient for ones",
               Cause::upstream_partly_used, ones_for_nothing},
          }};
}

}  // namespace

Exercises sharing_exercises(Generator& generator) {
  return {gram_exercise(generator), residual_exercise(generator), recurrence_exercise(generator),
          running_sum_exercise(generator), polar_exercise(generator)};
}

}  // namespace gradus::testing::zoo
