// Losses: one number at the end, an average somewhere, and an upstream gradient that everybody takes for one.
#include <algorithm>
#include <cmath>

#include "framework/tensor/creation.h"
#include "framework/testing/bug_zoo/exercise.h"

namespace gradus::testing::zoo {
namespace {

Array softmax_of_rows(const Array& x) {
  Array p(x.shape);
  for (int i = 0; i < x.rows(); ++i) {
    double sum = 0, largest = x(i, 0);
    for (int j = 1; j < x.columns(); ++j) largest = std::max(largest, x(i, j));
    for (int j = 0; j < x.columns(); ++j) sum += p(i, j) = std::exp(x(i, j) - largest);
    for (int j = 0; j < x.columns(); ++j) p(i, j) /= sum;
  }
  return p;
}

// --- cross-entropy of logits, averaged over the rows whose target is not `ignored` ---

constexpr int ignored = -1;

int rows_that_count(const Array& targets) {
  return static_cast<int>(std::ranges::count_if(targets.values, [](double target) { return target != ignored; }));
}

Arrays cross_entropy(const Arrays& in) {
  const Array p = softmax_of_rows(in[0]), &targets = in[1];
  Array loss{Shape{}};
  for (int i = 0; i < p.rows(); ++i)
    if (targets[i] != ignored) loss[0] -= std::log(p(i, static_cast<int>(targets[i]))) / rows_that_count(targets);
  return {loss};
}

struct CrossEntropyBackward {
  double divisor = 0;  ///< 0: the number of rows that count
  bool ignores = true, minus_target = true, target_averaged = true;

  Arrays operator()(const Arrays& in, const Arrays& up) const {
    const Array p = softmax_of_rows(in[0]), &targets = in[1];
    const double share = up[0][0] / (divisor > 0 ? divisor : rows_that_count(targets));
    Array dx(p.shape);
    for (int i = 0; i < p.rows(); ++i) {
      if (ignores && targets[i] == ignored) continue;
      for (int j = 0; j < p.columns(); ++j) {
        dx(i, j) = share * p(i, j);
        if (minus_target && j == targets[i]) dx(i, j) -= target_averaged ? share : up[0][0];
      }
    }
    return {dx, Array()};
  }
};

Exercise cross_entropy_exercise(Generator& generator) {
  const Backward right = CrossEntropyBackward{};
  return {"cross_entropy",
          {"logits", "targets"},
          {"loss"},
          {normal(generator, {5, 4}), from_values({5}, std::vector<std::int64_t>{2, ignored, 0, 3, ignored})},
          cross_entropy,
          right,
          {
              {"ignored rows in the mean", "divides by all rows where forward leaves the ignored ones out",
               Cause::constant_factor, CrossEntropyBackward{.divisor = 5}},
              {"sum for mean", "forgets to divide by the number of rows", Cause::constant_factor,
               CrossEntropyBackward{.divisor = 1}},
              {"averaged twice", "divides by the number of rows although the upstream gradient is already divided",
               Cause::constant_factor, scaled(right, 1.0 / 3)},
              {"gradient at ignored rows", "hands the probabilities on where the target is ignored", Cause::wrong_where,
               CrossEntropyBackward{.ignores = false}},
              {"one-hot missing", "returns the probabilities without subtracting one at the target", Cause::wrong_where,
               CrossEntropyBackward{.minus_target = false}},
              {"one-hot not averaged", "divides the probabilities by the number of rows, but not the one",
               Cause::wrong_where, CrossEntropyBackward{.target_averaged = false}},
              {"sign", "one-hot minus probabilities", Cause::sign, scaled(right, -1)},
              {"upstream gradient ignored", "takes the upstream gradient of a loss for one", Cause::upstream_ignored,
               ignoring_upstream(right)},
          }};
}

// --- mean square error ---

Arrays mean_square_error(const Arrays& in) {
  Array loss{Shape{}};
  for (int at = 0; at < in[0].size(); ++at) loss[0] += (in[0][at] - in[1][at]) * (in[0][at] - in[1][at]) / in[0].size();
  return {loss};
}

Arrays mean_square_error_backward(const Arrays& in, const Arrays& up) {
  Array da(in[0].shape), db(in[0].shape);
  for (int at = 0; at < da.size(); ++at) {
    da[at] = 2 * (in[0][at] - in[1][at]) / in[0].size() * up[0][0];
    db[at] = -da[at];
  }
  return {da, db};
}

Exercise mean_square_error_exercise(Generator& generator) {
  const Backward right = mean_square_error_backward;
  return {
      "mean_square_error",
      {"prediction", "target"},
      {"loss"},
      {normal(generator, {4, 3}), normal(generator, {4, 3})},
      mean_square_error,
      right,
      {
          {"factor two missing", "a - b for the derivative of (a - b)^2", Cause::constant_factor, scaled(right, 0.5)},
          {"sum for mean", "forgets to divide by the number of elements", Cause::constant_factor, scaled(right, 12)},
          {"mean over the rows only", "divides by the number of rows where forward divides by that of all elements",
           Cause::constant_factor, scaled(right, 3)},
          {"target with the prediction's sign",
           "returns the same gradient for both",
           Cause::sign,
           scaled(right, -1, 1),
           {Cause::other_input}},
          {"target as a constant", "returns zeros for the target", Cause::zero, scaled(right, 0, 1)},
      }};
}

// --- Huber: x^2 / 2 up to 1, |x| - 1/2 beyond, for each element ---

Exercise huber_exercise(Generator& generator) {
  const Backward right = [](const Arrays& in, const Arrays& up) {
    Array dx = up[0];
    for (int at = 0; at < dx.size(); ++at) dx[at] *= std::clamp(in[0][at], -1.0, 1.0);
    return Arrays{dx};
  };
  Tensor x = from_values({3, 4}, std::vector<double>{0.3, -1.8, 0.7, 2.1, -0.4, 1.5, -0.6, -2.4, 0.5, -1.3, 1.2, -0.8},
                         DType::f64);
  Array jittered = to_array(x);
  const Array jitter = to_array(random_uniform({3, 4}, generator, DType::f64));
  for (int at = 0; at < jittered.size(); ++at) jittered[at] += 0.2 * (jitter[at] - 0.5);
  x = to_tensor(jittered);
  return {"huber",
          {"x"},
          {"y"},
          {x},
          [](const Arrays& in) {
            Array y = in[0];
            for (double& v : y.values) v = std::fabs(v) < 1 ? v * v / 2 : std::fabs(v) - 0.5;
            return Arrays{y};
          },
          right,
          {
              {"not clamped", "hands on x where |x| is beyond the threshold, too", Cause::wrong_where,
               [](const Arrays& in, const Arrays& up) {
                 Array dx = up[0];
                 for (int at = 0; at < dx.size(); ++at) dx[at] *= in[0][at];
                 return Arrays{dx};
               }},
              {"large errors dropped", "zero beyond the threshold, as if the error were clipped", Cause::wrong_where,
               [](const Arrays& in, const Arrays& up) {
                 Array dx = up[0];
                 for (int at = 0; at < dx.size(); ++at) dx[at] *= std::fabs(in[0][at]) < 1 ? in[0][at] : 0;
                 return Arrays{dx};
               }},
          }};
}

// --- log-softmax of each row: dx = g - p sum(g) ---

/// dx[i][j] = g[i][j] - p[i][j] subtracted(p, g, i, j).
template <class Subtracted>
Backward log_softmax_with(Subtracted subtracted) {
  return [=](const Arrays& in, const Arrays& up) {
    const Array p = softmax_of_rows(in[0]), &g = up[0];
    Array dx = g;
    for (int i = 0; i < p.rows(); ++i)
      for (int j = 0; j < p.columns(); ++j) dx(i, j) -= p(i, j) * subtracted(p, g, i, j);
    return Arrays{dx};
  };
}

Exercise log_softmax_exercise(Generator& generator) {
  const Backward right = log_softmax_with([](const Array&, const Array& g, int i, int) {
    double sum = 0;
    for (int j = 0; j < g.columns(); ++j) sum += g(i, j);
    return sum;
  });
  return {"log_softmax",
          {"x"},
          {"y"},
          {normal(generator, {3, 5})},
          [](const Arrays& in) {
            Array y = softmax_of_rows(in[0]);
            for (double& value : y.values) value = std::log(value);
            return Arrays{y};
          },
          right,
          {
              {"normaliser as a constant", "hands the upstream gradient on", Cause::missing_output_term,
               log_softmax_with([](const Array&, const Array&, int, int) { return 0.0; })},
              {"own element only", "g - p g, without the sum over the row", Cause::diagonal_only,
               log_softmax_with([](const Array&, const Array& g, int i, int j) { return g(i, j); })},
              {"softmax's correction", "subtracts p sum(p g) where p sum(g) belongs", Cause::missing_output_term,
               log_softmax_with([](const Array& p, const Array& g, int i, int) {
                 double sum = 0;
                 for (int j = 0; j < g.columns(); ++j) sum += p(i, j) * g(i, j);
                 return sum;
               })},
          }};
}

// --- binary cross-entropy of logits with a weight for each example ---

Exercise weighted_cross_entropy_exercise(Generator& generator) {
  const auto backward = [](auto factor) -> Backward {
    return [=](const Arrays& in, const Arrays& up) {
      const Array &x = in[0], &weight = in[1], &target = in[2];
      Array dx(x.shape), dweight(x.shape);
      for (int at = 0; at < x.size(); ++at) {
        dx[at] = up[0][at] * (sigmoid(x[at]) - target[at]) * factor(x[at], weight[at]);
        dweight[at] = up[0][at] * (std::log1p(std::exp(x[at])) - target[at] * x[at]);
      }
      return Arrays{dx, dweight, Array()};
    };
  };
  const std::vector<double> targets = {1, 0, 0, 1, 1, 0, 1, 0};
  return {"weighted_binary_cross_entropy",
          {"logits", "weight", "target"},
          {"loss"},
          {normal(generator, {8}), normal(generator, {8}), from_values({8}, targets, DType::boolean)},
          [](const Arrays& in) {
            Array y = in[0];
            for (int at = 0; at < y.size(); ++at)
              y[at] = in[1][at] * (std::log1p(std::exp(in[0][at])) - in[2][at] * in[0][at]);
            return Arrays{y};
          },
          backward([](double, double weight) { return weight; }),
          {
              {"weight forgotten", "the weight of the example is missing in backward", Cause::missing_factor,
               backward([](double, double) { return 1.0; })},
              {"sigmoid differentiated twice",
               "multiplies by s (1 - s), which the formula already contains",
               Cause::missing_factor,
               backward([](double x, double weight) { return weight * sigmoid(x) * (1 - sigmoid(x)); }),
               {Cause::unknown}},
          }};
}

}  // namespace

Exercises loss_exercises(Generator& generator) {
  return {cross_entropy_exercise(generator), mean_square_error_exercise(generator), huber_exercise(generator),
          log_softmax_exercise(generator), weighted_cross_entropy_exercise(generator)};
}

}  // namespace gradus::testing::zoo
