#include "framework/testing/derivative.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace gradus::testing {
namespace {

constexpr int levels = 12;
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double unit_roundoff = 0x1p-53;
/// The spread between neighbours in a tableau is about the error of the worse one; the bar allows for an unlucky spread.
constexpr double spread_factor = 8, noise_factor = 4;

struct Rung {
  double value = std::numeric_limits<double>::quiet_NaN(), bar = infinity;
};

/// Neville's tableau: row i belongs to the step first / 2^i; an invalid row starts it anew. Column j takes out the error
/// term of the power j * order of the step.
class Tableau {
 public:
  explicit Tableau(int order) : order_(order) {}

  void restart() { rows_ = 0; }
  int rows() const { return rows_; }

  /// Adds the difference quotient of the next smaller step, known up to `rounding`.
  void add(double quotient, double rounding) {
    std::array<Rung, levels> row;
    row[0] = {quotient, rounding};
    const int last = std::min(rows_, levels - 1);
    for (int j = 1; j <= last; ++j) {
      const double factor = std::pow(2.0, order_ * j);
      row[j].value = (factor * row[j - 1].value - row_[j - 1].value) / (factor - 1);
      row[j].bar = (factor * row[j - 1].bar + row_[j - 1].bar) / (factor - 1);
      const double spread = std::max(std::fabs(row[j].value - row[j - 1].value), std::fabs(row[j].value - row_[j - 1].value));
      const double bar = spread_factor * spread + noise_factor * row[j].bar;
      if (bar < best_.bar) best_ = {row[j].value, bar};
    }
    row_ = row;
    ++rows_;
  }

  const Rung& best() const { return best_; }

 private:
  int order_, rows_ = 0;
  std::array<Rung, levels> row_;
  Rung best_;
};

class Differentiator {
 public:
  Differentiator(const Curve& curve, const DerivativeOptions& options) : curve_(curve), options_(options) {}

  Derivative run() {
    if (options_.noise > 0) noise_ = options_.noise;
    else measure_noise();
    const double first = options_.scale / 8;
    const bool quick = options_.effort == DerivativeOptions::Effort::quick;
    Rung a = central(first), b = quick ? a : central(first * 0.37);
    const int attempts = options_.effort == DerivativeOptions::Effort::thorough ? 4 : 2;
    for (int attempt = 0; !agree(a, b) && attempt < attempts; ++attempt) {
      const double smaller = first * std::pow(2.0, -5.0 * (attempt + 1)), other = smaller * 0.61;
      a = central(smaller);
      b = central(other);
    }
    result_.conclusive = agree(a, b);
    if (result_.conclusive) {
      const Rung& better = a.bar <= b.bar ? a : b;
      result_.value = better.value;
      result_.bar = std::max(better.bar, std::fabs(a.value - b.value));
      if (options_.effort == DerivativeOptions::Effort::thorough && !find_kink()) look_closer(first);
    } else if (!find_kink()) {
      const Rung& better = a.bar <= b.bar ? a : b;
      result_.value = better.value;
      result_.bar = std::max({a.bar, b.bar, std::fabs(a.value - b.value)});
      if (!std::isfinite(result_.bar)) result_.bar = infinity;
    }
    result_.noise = noise_;
    result_.constant = result_.value == 0 && quantum_ == 0;
    if (result_.constant) result_.bar = 2 * options_.output_quantum / std::fabs(first);
    return result_;
  }

 private:
  Evaluation at(double t) {
    ++result_.evaluations;
    const Evaluation found = curve_(t);
    quantum_ = std::max(quantum_, found.quantum);
    return found;
  }

  static bool agree(const Rung& a, const Rung& b) {
    return std::isfinite(a.value) && std::isfinite(b.value) && std::fabs(a.value - b.value) <= a.bar + b.bar;
  }

  /// Sets noise_ from differences of order 2 to 6 on seven points; where the function is a staircase at that spacing (a
  /// result of lower precision than its type), the points move apart until the stairs show.
  void measure_noise() {
    constexpr int points = 7;
    double step = options_.noise_step > 0 ? options_.noise_step : std::fabs(options_.scale) * 0x1p-46;
    for (int attempt = 0; attempt < 7; ++attempt, step *= 32) {
      std::array<double, points> f;
      int equal = 0;
      for (int k = 0; k < points; ++k) {
        const Evaluation found = at((k - points / 2) * step);
        if (!found.valid) return;  // at a kink: the quantum must do
        f[k] = found.value;
        equal += k > 0 && f[k] == f[k - 1];
      }
      const bool staircase = equal > points / 2;
      double largest = 0, factorial_ratio = 1;
      for (int order = 1; order < points; ++order) {
        double mean_square = 0;
        for (int k = 0; k + order < points; ++k) {
          f[k] = f[k + 1] - f[k];
          mean_square += f[k] * f[k] / (points - order);
        }
        factorial_ratio *= double(order) * order / (2.0 * order * (2.0 * order - 1));  // (k!)^2 / (2k)!
        if (order >= 2) largest = std::max(largest, std::sqrt(factorial_ratio * mean_square));
      }
      noise_ = std::max(noise_, largest);
      if (!staircase) return;
    }
  }

  double good_enough(double value) const { return options_.good_enough > 0 ? options_.good_enough : 1e-10 * std::fabs(value); }

  Rung central(double first) {
    Tableau tableau(2);
    int halvings = 0;
    for (double h = first; halvings < 40 && tableau.rows() < levels - 3; h /= 2, ++halvings) {
      const Evaluation up = at(h), down = up.valid ? at(-h) : up;
      if (!up.valid || !down.valid || !(up.moved > down.moved)) {
        tableau.restart();
        continue;
      }
      const double width = up.moved - down.moved;
      tableau.add((up.value - down.value) / width, rounding(up, down) / width);
      if (tableau.rows() >= (options_.effort == DerivativeOptions::Effort::quick ? 3 : 4) &&
          tableau.best().bar <= good_enough(tableau.best().value))
        break;
    }
    return tableau.best();
  }

  /// Where a kink is much nearer than the steps, or many waves of the function lie within one, both ladders may agree
  /// on something else than the derivative. Short ladders know better there, and where they do not settle, nobody
  /// knows.
  void look_closer(double first) {
    const Rung a = central(first * 0x1p-12), b = central(first * 0x1p-13 * 0.61), before = {result_.value, result_.bar};
    const double bar = std::max(std::min(a.bar, b.bar), std::fabs(a.value - b.value));
    if (agree(a, b) && (bar < before.bar || !(agree(a, before) || agree(b, before)))) {
      result_.value = (a.bar <= b.bar ? a : b).value;
      result_.bar = bar;
    } else if (!agree(a, before) && !agree(b, before)) {
      result_.conclusive = false;
    }
  }

  double rounding(const Evaluation& a, const Evaluation& b) const {
    return 2 * std::max(noise_, quantum_) + 4 * unit_roundoff * (a.magnitude + b.magnitude);
  }

  Rung one_sided(double first) {
    Tableau tableau(1);
    double h = first;
    for (int halvings = 0; halvings < 30 && tableau.rows() < levels - 1; h /= 2, ++halvings) {
      const Evaluation found = at(h);
      if (!std::isfinite(found.value) || found.moved == 0) {
        tableau.restart();
        continue;
      }
      tableau.add(found.value / found.moved, rounding(found, found) / std::fabs(found.moved));
    }
    return tableau.best();
  }

  /// Different slopes on the two sides, which central differences on a kink would average: both steady, each confirmed
  /// by another ladder.
  bool find_kink() {
    const double first = options_.scale / 64;
    const Rung right = one_sided(first), left = one_sided(-first), right_again = one_sided(first * 0.37 / 16), left_again = one_sided(-first * 0.37 / 16);
    const double bar = std::max({left.bar, right.bar, left_again.bar, right_again.bar});
    if (agree(left, left_again) && agree(right, right_again) && std::fabs(left.value - right.value) > 4 * bar) {
      result_.conclusive = result_.at_kink = true;
      result_.left = left.value;
      result_.right = right.value;
      result_.side_bar = bar;
      result_.value = (left.value + right.value) / 2;
      result_.bar = std::fabs(left.value - right.value) / 2 + bar;
      return true;
    }
    return false;
  }

  const Curve& curve_;
  const DerivativeOptions& options_;
  Derivative result_;
  double noise_ = 0, quantum_ = 0;
};

}  // namespace

Derivative differentiate(const Curve& curve, const DerivativeOptions& options) { return Differentiator(curve, options).run(); }

std::vector<StepError> error_by_step(const Curve& curve, double scale, double expected) {
  std::vector<StepError> errors;
  for (int k = 0; k < 44; k += 2) {
    const double h = std::fabs(scale) * std::ldexp(1.0, -k);
    const Evaluation up = curve(h), down = curve(-h);
    const double quotient = (up.value - down.value) / (up.moved - down.moved);
    errors.push_back({h, std::fabs(quotient - expected) / std::fabs(expected)});
  }
  return errors;
}

}  // namespace gradus::testing
