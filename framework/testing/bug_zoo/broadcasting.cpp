// Ops whose operands stretch: what was repeated in forward has to be summed in backward.
#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {
namespace {

// --- y[i][j] = x[i][j] + b[j] ---

Arrays add_bias(const Arrays& in) {
  Array y = in[0];
  for (int i = 0; i < y.rows(); ++i)
    for (int j = 0; j < y.columns(); ++j) y(i, j) += in[1][j];
  return {y};
}

Arrays add_bias_backward(const Arrays&, const Arrays& up) {
  const Array& g = up[0];
  Array db({g.columns()});
  for (int i = 0; i < g.rows(); ++i)
    for (int j = 0; j < g.columns(); ++j) db[j] += g(i, j);
  return {g, db};
}

/// The gradient of b is one row of the upstream gradient.
Backward add_bias_slice(std::int64_t row) {
  return [=](const Arrays&, const Arrays& up) {
    const Array& g = up[0];
    Array db({g.columns()});
    for (int j = 0; j < g.columns(); ++j) db[j] = g(row, j);
    return Arrays{g, db};
  };
}

Exercise bias_exercise(Generator& generator) {
  return {
      "bias_add",
      {"x", "b"},
      {"y"},
      {normal(generator, {4, 3}), normal(generator, {3})},
      add_bias,
      add_bias_backward,
      {
          {"mean for sum", "averages the upstream gradient over the rows", Cause::mean_for_sum,
           scaled(add_bias_backward, 1.0 / 4, 1)},
          {"first row for the sum", "takes the first row of the upstream gradient as the bias's", Cause::slice_for_sum,
           add_bias_slice(0)},
          {"last row for the sum", "writes db[j] = g[i][j] in the loop over rows, so that the last row stays",
           Cause::slice_for_sum, add_bias_slice(3)},
          {"no gradient for the bias", "treats the bias as a constant", Cause::zero, scaled(add_bias_backward, 0, 1)},
          {"sign of the bias gradient", "differentiates x - b", Cause::sign, scaled(add_bias_backward, -1, 1)},
          {"upstream gradient ignored", "the derivative of a sum is one, so it returns ones and the number of rows",
           Cause::upstream_ignored, ignoring_upstream(add_bias_backward)},
      }};
}

}  // namespace

Exercises broadcasting_exercises(Generator& generator) { return {bias_exercise(generator)}; }

}  // namespace gradus::testing::zoo
