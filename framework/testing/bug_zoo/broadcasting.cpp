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

// --- y[i][j] = column[i] row[j] ---

Exercise outer_product_exercise(Generator& generator) {
  const auto forward = [](const Arrays& in) {
    Array y({in[0].rows(), in[1].columns()});
    for (int i = 0; i < y.rows(); ++i)
      for (int j = 0; j < y.columns(); ++j) y(i, j) = in[0][i] * in[1][j];
    return Arrays{y};
  };
  /// at(g, i, j) is the upstream gradient that column[i] and row[j] are given.
  const auto backward = [](auto at) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      Array dcolumn(in[0].shape), drow(in[1].shape);
      for (int i = 0; i < in[0].size(); ++i)
        for (int j = 0; j < in[1].size(); ++j) {
          dcolumn[i] += at(up[0], i, j) * in[1][j];
          drow[j] += up[0](i, j) * in[0][i];
        }
      return Arrays{dcolumn, drow};
    };
  };
  const Backward right = backward([](const Array& g, int i, int j) { return g(i, j); });
  return {"outer_product",
          {"column", "row"},
          {"y"},
          {normal(generator, {4, 1}), normal(generator, {1, 4})},
          forward,
          right,
          {
              {"column summed over the wrong axis", "sums over the rows for the column, too", Cause::transposed,
               backward([](const Array& g, int i, int j) { return g(j, i); })},
              {"column without the row's factor", "sums the upstream gradient without multiplying by the row",
               Cause::missing_factor,
               [=](const Arrays& in, const Arrays& up) {
                 return Arrays{right({in[0], Array(in[1].shape, 1)}, up)[0], right(in, up)[1]};
               }},
              {"row gradient as large as the output", "returns the products for the row without summing them",
               Cause::wrong_shape,
               [=](const Arrays& in, const Arrays& up) {
                 Array drow = up[0];
                 for (int i = 0; i < drow.rows(); ++i)
                   for (int j = 0; j < drow.columns(); ++j) drow(i, j) *= in[0][i];
                 return Arrays{right(in, up)[0], drow};
               }},
          }};
}

// --- y[n][c][t] = x[n][c][t] + b[c][0]: what stretches lies at both ends ---

Exercise channel_bias_exercise(Generator& generator) {
  const auto forward = [](const Arrays& in) {
    Array y = in[0];
    for (int n = 0; n < y.shape[0]; ++n)
      for (int c = 0; c < y.shape[1]; ++c)
        for (int t = 0; t < y.shape[2]; ++t) y(n, c, t) += in[1][c];
    return Arrays{y};
  };
  /// Sums what lies at n < items and t < length.
  const auto backward = [](int items, int length) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      Array db(in[1].shape);
      for (int n = 0; n < items; ++n)
        for (int c = 0; c < db.rows(); ++c)
          for (int t = 0; t < length; ++t) db[c] += up[0](n, c, t);
      return Arrays{up[0], db};
    };
  };
  const Backward right = backward(2, 4);
  return {
      "channel_bias",
      {"x", "b"},
      {"y"},
      {normal(generator, {2, 3, 4}), normal(generator, {3, 1})},
      forward,
      right,
      {
          {"leading axis not summed", "takes the first item of the batch", Cause::slice_for_sum, backward(1, 4)},
          {"trailing axis not summed", "takes the first element along the last axis", Cause::slice_for_sum,
           backward(2, 1)},
          {"neither axis summed", "takes one element for each channel", Cause::slice_for_sum, backward(1, 1)},
          {"last place left out", "the loop along the last axis ends one too early", Cause::some_parts, backward(2, 3)},
          {"mean over the batch",
           "averages over the leading axis, sums over the trailing one",
           Cause::mean_for_sum,
           scaled(right, 0.5, 1),
           {Cause::constant_factor}},
          {"axis of size one dropped", "returns (3) where the bias is (3,1)", Cause::wrong_shape,
           [=](const Arrays& in, const Arrays& up) {
             Arrays gradients = right(in, up);
             gradients[1].shape = {3};
             return gradients;
           }},
      }};
}

// --- y = x * s with a scalar s ---

Exercise scalar_scale_exercise(Generator& generator) {
  const auto forward = [](const Arrays& in) {
    Array y = in[0];
    for (double& value : y.values) value *= in[1][0];
    return Arrays{y};
  };
  /// The gradient of s is the sum of term(x, g) over the first `count` elements.
  const auto backward = [](auto term, int count) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      Array dx = up[0], ds(in[1].shape);
      for (double& value : dx.values) value *= in[1][0];
      for (int at = 0; at < count; ++at) ds[0] += term(in[0][at], up[0][at]);
      return Arrays{dx, ds};
    };
  };
  const auto product = [](double x, double g) { return x * g; };
  const Backward right = backward(product, 12);
  return {"scalar_scale",
          {"x", "s"},
          {"y"},
          {normal(generator, {4, 3}), normal(generator, {})},
          forward,
          right,
          {
              {"one element for the sum",
               "takes the first element's product as the gradient of the scalar",
               Cause::slice_for_sum,
               backward(product, 1),
               {Cause::last_use_only}},
              {"one row for the sum", "sums over the first row only", Cause::slice_for_sum, backward(product, 3)},
              {"factor x forgotten", "sums the upstream gradient for the scalar", Cause::missing_factor,
               backward([](double, double g) { return g; }, 12)},
              {"mean for the sum", "averages over the elements", Cause::mean_for_sum, scaled(right, 1.0 / 12, 1)},
          }};
}

// --- y[i][j] = a[i][j] / b[i][0] ---

Exercise divide_exercise(Generator& generator) {
  const auto forward = [](const Arrays& in) {
    Array y = in[0];
    for (int i = 0; i < y.rows(); ++i)
      for (int j = 0; j < y.columns(); ++j) y(i, j) /= in[1][i];
    return Arrays{y};
  };
  /// The gradient of b is the sum of g slope(a, b).
  const auto backward = [](auto slope) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      Array da = up[0], db(in[1].shape);
      for (int i = 0; i < da.rows(); ++i)
        for (int j = 0; j < da.columns(); ++j) {
          da(i, j) /= in[1][i];
          db[i] += up[0](i, j) * slope(in[0](i, j), in[1][i]);
        }
      return Arrays{da, db};
    };
  };
  const Backward right = backward([](double a, double b) { return -a / (b * b); });
  return {"divide_rows",
          {"a", "b"},
          {"y"},
          {normal(generator, {3, 4}), normal_away_from(generator, {3, 1}, {0})},
          forward,
          right,
          {
              {"square forgotten", "-a / b for the derivative of a / b by b", Cause::missing_factor,
               backward([](double a, double b) { return -a / b; })},
              {"numerator forgotten", "-1 / b^2 for the derivative of a / b by b", Cause::missing_factor,
               backward([](double, double b) { return -1 / (b * b); })},
              {"sign of the divisor's gradient", "forgets the minus of the quotient rule", Cause::sign,
               scaled(right, -1, 1)},
          }};
}

// --- the mean of each row, and the product of each row ---

Exercise row_mean_exercise(Generator& generator) {
  const auto backward = [](auto of) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      Array dx(in[0].shape);
      for (int i = 0; i < dx.rows(); ++i)
        for (int j = 0; j < dx.columns(); ++j) dx(i, j) = of(up[0], i, j) / dx.columns();
      return Arrays{dx};
    };
  };
  const Backward right = backward([](const Array& g, int i, int) { return g[i]; });
  return {"row_mean",
          {"x"},
          {"y"},
          {normal(generator, {4, 4})},
          [](const Arrays& in) {
            Array y({in[0].rows()});
            for (int i = 0; i < in[0].rows(); ++i)
              for (int j = 0; j < in[0].columns(); ++j) y[i] += in[0](i, j) / in[0].columns();
            return Arrays{y};
          },
          right,
          {
              {"not divided", "spreads the upstream gradient as for a sum", Cause::constant_factor, scaled(right, 4)},
              {"spread along the wrong axis", "repeats the upstream gradient along the rows", Cause::transposed,
               backward([](const Array& g, int, int j) { return g[j]; })},
              {"divided twice", "divides an upstream gradient that is already divided", Cause::mean_for_sum,
               scaled(right, 0.25)},
          }};
}

Exercise row_product_exercise(Generator& generator) {
  const auto forward = [](const Arrays& in) {
    Array y({in[0].rows()}, 1);
    for (int i = 0; i < in[0].rows(); ++i)
      for (int j = 0; j < in[0].columns(); ++j) y[i] *= in[0](i, j);
    return Arrays{y};
  };
  const auto backward = [=](bool divided) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      const Array y = forward(in)[0];
      Array dx(in[0].shape);
      for (int i = 0; i < dx.rows(); ++i)
        for (int j = 0; j < dx.columns(); ++j) dx(i, j) = up[0][i] * y[i] / (divided ? in[0](i, j) : 1);
      return Arrays{dx};
    };
  };
  return {"row_product",
          {"x"},
          {"y"},
          {normal_away_from(generator, {3, 4}, {0})},
          forward,
          backward(true),
          {
              {"own factor left in", "g y, without dividing by the element's own factor", Cause::missing_factor,
               backward(false)},
          }};
}

}  // namespace

Exercises broadcasting_exercises(Generator& generator) {
  return {bias_exercise(generator),         outer_product_exercise(generator), channel_bias_exercise(generator),
          scalar_scale_exercise(generator), divide_exercise(generator),        row_mean_exercise(generator),
          row_product_exercise(generator)};
}

}  // namespace gradus::testing::zoo
