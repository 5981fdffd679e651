// Ops in which every element of a row depends on the whole row.
#include <cmath>

#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {
namespace {

// --- softmax of each row ---

Arrays softmax(const Arrays& in) {
  Array y = in[0];
  for (int i = 0; i < y.rows(); ++i) {
    double sum = 0;
    for (int j = 0; j < y.columns(); ++j) sum += y(i, j) = std::exp(y(i, j));
    for (int j = 0; j < y.columns(); ++j) y(i, j) /= sum;
  }
  return {y};
}

/// dx = y (g - c) with a correction c for each row; the right one is sum_j y_j g_j. The mistakes are in c.
template <class Correction>
Backward softmax_with(Correction correction) {
  return [=](const Arrays& in, const Arrays& up) {
    const Array y = softmax(in)[0], &g = up[0];
    Array dx(y.shape);
    for (int i = 0; i < y.rows(); ++i) {
      const double c = correction(y, g, i);
      for (int j = 0; j < y.columns(); ++j) dx(i, j) = y(i, j) * (g(i, j) - c);
    }
    return Arrays{dx};
  };
}

double row_dot(const Array& a, const Array& b, int i) {
  double sum = 0;
  for (int j = 0; j < a.columns(); ++j) sum += a(i, j) * b(i, j);
  return sum;
}

Exercise softmax_exercise(Generator& generator) {
  const Backward right = softmax_with(row_dot);
  return {
      "softmax",
      {"x"},
      {"y"},
      {normal(generator, {3, 5})},
      softmax,
      right,
      {
          {"correction term missing", "y g, as if the denominator were a constant", Cause::missing_output_term,
           softmax_with([](const Array&, const Array&, int) { return 0.0; })},
          {"mean in the correction", "subtracts the mean of y g over the row where its sum belongs",
           Cause::missing_output_term,
           softmax_with([](const Array& y, const Array& g, int i) { return row_dot(y, g, i) / y.columns(); })},
          {"diagonal only", "y (1 - y) g: the derivative of each probability by its own logit alone",
           Cause::diagonal_only,
           [](const Arrays& in, const Arrays& up) {
             const Array y = softmax(in)[0];
             Array dx(y.shape);
             for (int at = 0; at < y.size(); ++at) dx[at] = y[at] * (1 - y[at]) * up[0][at];
             return Arrays{dx};
           }},
          {"logits for probabilities", "applies the formula to the saved input instead of the saved output",
           Cause::wrong_point,
           [](const Arrays& in, const Arrays& up) {
             const Array &x = in[0], &g = up[0];
             Array dx(x.shape);
             for (int i = 0; i < x.rows(); ++i)
               for (int j = 0; j < x.columns(); ++j) dx(i, j) = x(i, j) * (g(i, j) - row_dot(x, g, i));
             return Arrays{dx};
           }},
          {"sign", "y (c - g): the difference taken the other way round", Cause::sign, scaled(right, -1)},
          {"twice", "adds the gradient to a buffer that already holds it", Cause::constant_factor, scaled(right, 2)},
          {"first row only", "forgets the loop over rows", Cause::some_parts, one_row_only(right, 0)},
          {"upstream gradient ignored",
           "differentiates the sum of the outputs, which is constant: all zero",
           Cause::upstream_ignored,
           ignoring_upstream(right),
           {Cause::zero}},
      }};
}

// --- layer norm: y = gain * x^ + bias with x^ = (x - mean) / deviation, row by row ---

struct Normalised {
  Array values;                           ///< x^
  std::vector<double> inverse_deviation;  ///< for each row
};

Normalised normalise(const Array& x) {
  Normalised result{x, {}};
  const double n = x.columns();
  for (int i = 0; i < x.rows(); ++i) {
    double mean = 0, variance = 0;
    for (int j = 0; j < x.columns(); ++j) mean += x(i, j) / n;
    for (int j = 0; j < x.columns(); ++j) variance += (x(i, j) - mean) * (x(i, j) - mean) / n;
    result.inverse_deviation.push_back(1 / std::sqrt(variance + 1e-5));
    for (int j = 0; j < x.columns(); ++j) result.values(i, j) = (x(i, j) - mean) * result.inverse_deviation.back();
  }
  return result;
}

Arrays layer_norm(const Arrays& in) {
  Array y = normalise(in[0]).values;
  for (int i = 0; i < y.rows(); ++i)
    for (int j = 0; j < y.columns(); ++j) y(i, j) = y(i, j) * in[1][j] + in[2][j];
  return {y};
}

/// dx / inverse deviation = element(h, x^, mean(h), mean(h x^)) with h = g * gain. The mistakes are in `element`.
template <class Element>
Backward layer_norm_with(Element element) {
  return [=](const Arrays& in, const Arrays& up) {
    const Array &gain = in[1], &g = up[0];
    const Normalised normalised = normalise(in[0]);
    const Array& z = normalised.values;
    Array dx(g.shape), dgain(gain.shape), dbias(gain.shape);
    const double n = g.columns();
    for (int i = 0; i < g.rows(); ++i) {
      double mean_h = 0, mean_hz = 0;
      for (int j = 0; j < g.columns(); ++j) {
        mean_h += g(i, j) * gain[j] / n;
        mean_hz += g(i, j) * gain[j] * z(i, j) / n;
        dgain[j] += g(i, j) * z(i, j);
        dbias[j] += g(i, j);
      }
      for (int j = 0; j < g.columns(); ++j)
        dx(i, j) = normalised.inverse_deviation[i] * element(g(i, j) * gain[j], z(i, j), mean_h, mean_hz);
    }
    return Arrays{dx, dgain, dbias};
  };
}

Exercise layer_norm_exercise(Generator& generator) {
  const Backward right =
      layer_norm_with([](double h, double z, double mean_h, double mean_hz) { return h - mean_h - z * mean_hz; });
  return {
      "layer_norm",
      {"x", "gain", "bias"},
      {"y"},
      {normal(generator, {3, 5}), normal(generator, {5}), normal(generator, {5})},
      layer_norm,
      right,
      {
          {"mean correction missing", "treats the mean as a constant", Cause::missing_mean_term,
           layer_norm_with([](double h, double z, double, double mean_hz) { return h - z * mean_hz; })},
          {"variance correction missing", "treats the variance as a constant", Cause::missing_output_term,
           layer_norm_with([](double h, double, double mean_h, double) { return h - mean_h; })},
          {"both corrections missing",
           "treats mean and variance as constants",
           Cause::missing_mean_term,
           layer_norm_with([](double h, double, double, double) { return h; }),
           {Cause::missing_output_term, Cause::diagonal_only}},
          {"gain gets the bias's gradient", "forgets the factor x^ in the gradient of the gain", Cause::other_input,
           [=](const Arrays& in, const Arrays& up) {
             const Arrays gradients = right(in, up);
             return Arrays{gradients[0], gradients[2], gradients[2]};
           }},
          {"gain gradient with the raw input", "multiplies by x where the normalised x^ belongs", Cause::wrong_point,
           [=](const Arrays& in, const Arrays& up) {
             Arrays gradients = right(in, up);
             Array dgain(in[1].shape);
             for (int i = 0; i < in[0].rows(); ++i)
               for (int j = 0; j < in[0].columns(); ++j) dgain[j] += up[0](i, j) * in[0](i, j);
             gradients[1] = dgain;
             return gradients;
           }},
          {"one row for the bias's sum", "takes the first row of the upstream gradient as the bias's",
           Cause::slice_for_sum,
           [=](const Arrays& in, const Arrays& up) {
             Arrays gradients = right(in, up);
             for (int j = 0; j < up[0].columns(); ++j) gradients[2][j] = up[0](0, j);
             return gradients;
           }},
          {"gain gradient averaged", "averages over the rows where the gain needs the sum", Cause::mean_for_sum,
           scaled(right, 1.0 / 3, 1)},
          {"first row only", "the gradient of x is filled for the first row alone", Cause::some_parts,
           one_row_only(right, 0)},
          {"upstream gradient ignored", "starts from ones instead of the upstream gradient", Cause::upstream_ignored,
           ignoring_upstream(right)},
      }};
}

}  // namespace

Exercises normalisation_exercises(Generator& generator) {
  return {softmax_exercise(generator), layer_norm_exercise(generator)};
}

}  // namespace gradus::testing::zoo
