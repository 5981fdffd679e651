#include "framework/testing/derivative.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "framework/testing/neville.h"
#include "framework/testing/step_sweep.h"

namespace gradus::testing {
namespace {


/// One or two ladders of steps from an eighth of the scale downwards.
class Ladders {
 public:
  Ladders(const Curve& curve, const DerivativeOptions& options)
      : curve_(curve), options_(options), is_quick_(options.effort == DerivativeOptions::Effort::quick) {}

  Derivative run(double noise) {
    noise_ = noise;
    const double first = options_.scale / 8;
    Estimate a = climb(first), b = is_quick_ ? a : climb(first * 0.37);
    for (int attempt = 0; !agree(a, b) && attempt < 2; ++attempt) {
      const double smaller = first * std::pow(2.0, -5.0 * (attempt + 1));
      a = climb(smaller);
      b = climb(smaller * 0.61);
    }
    const Estimate& better = a.bar <= b.bar ? a : b;
    result_.conclusive = agree(a, b);
    result_.value = better.value;
    result_.bar = std::max(better.bar, std::fabs(a.value - b.value));
    if (std::isnan(result_.bar)) result_.bar = std::numeric_limits<double>::infinity();
    result_.noise = noise_;
    result_.step = step_;
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

  double good_enough(double value) const {
    return options_.good_enough > 0 ? options_.good_enough : 1e-10 * std::fabs(value);
  }

  Estimate climb(double first) {
    Tableau tableau(2);
    int halvings = 0;
    const int enough = is_quick_ ? 3 : 4, most = 9;
    for (double h = first; halvings < 40 && tableau.rows() < most; h /= 2, ++halvings) {
      const Evaluation up = at(h), down = up.valid ? at(-h) : up;
      if (!up.valid || !down.valid || !(up.moved > down.moved)) {
        tableau.restart();
        continue;
      }
      if (tableau.rows() == 0) step_ = h;
      const double width = up.moved - down.moved;
      const double rounding = 2 * std::max(noise_, quantum_) + 4 * unit_roundoff * (up.magnitude + down.magnitude);
      tableau.add((up.value - down.value) / width, rounding / width);
      if (tableau.rows() >= enough && tableau.best().bar <= good_enough(tableau.best().value)) break;
    }
    return tableau.best();
  }

  const Curve& curve_;
  const DerivativeOptions& options_;
  const bool is_quick_;
  Derivative result_;
  double noise_ = 0, quantum_ = 0, step_ = 0;
};

/// The estimates of orders 2 to 6 on seven points: where three that follow each other are alike, it is noise that they
/// see, no curvature.
double noise_of(std::array<double, 7> f) {
  constexpr int points = 7;
  std::array<double, points> estimates{};
  double factorial_ratio = 1, largest = 0;
  for (const double value : f) largest = std::max(largest, std::fabs(value));
  if (largest == 0) return 0;
  for (double& value : f) value /= largest;  // squares of very large or small numbers are none
  for (int order = 1; order < points; ++order) {
    double mean_square = 0;
    for (int k = 0; k + order < points; ++k) {
      f[k] = f[k + 1] - f[k];
      mean_square += f[k] * f[k] / (points - order);
    }
    factorial_ratio *= double(order) * order / (2.0 * order * (2.0 * order - 1));  // (k!)^2 / (2k)!
    estimates[order] = std::sqrt(factorial_ratio * mean_square);
  }
  double noise = std::numeric_limits<double>::infinity();
  for (int order = 2; order + 2 < points; ++order)
    noise = std::min(noise, std::max({estimates[order], estimates[order + 1], estimates[order + 2]}));
  return noise * largest;
}

/// The root mean square error of one evaluation.
double measured_noise(const Curve& curve, double spacing, double largest_spacing, int& evaluations) {
  constexpr int points = 7;
  double noise = 0;
  // Where the function is a staircase at that spacing (a result of lower precision than its type), the points move apart
  // until the stairs show.
  for (; spacing <= largest_spacing; spacing *= 32) {
    std::array<double, points> f{};
    int equal = 0;
    for (int k = 0; k < points; ++k) {
      ++evaluations;
      const Evaluation found = curve((k - points / 2) * spacing);
      if (!found.valid) return noise;  // at a kink: the quantum must do
      f[k] = found.value;
      equal += k > 0 && f[k] == f[k - 1];
    }
    noise = std::max(noise, noise_of(f));
    if (equal <= points / 2) return noise;
  }
  return noise;
}

}  // namespace

Derivative differentiate(const Curve& curve, const DerivativeOptions& options) {
  const double scale = std::fabs(options.scale);
  int evaluations = 0;
  const double noise = options.noise > 0 ? options.noise
                                         : measured_noise(curve, options.noise_step > 0 ? options.noise_step : scale * 0x1p-46,
                                                          scale * 0x1p-10, evaluations);
  Derivative found = options.effort == DerivativeOptions::Effort::thorough ? sweep_steps(curve, options, noise)
                                                                           : Ladders(curve, options).run(noise);
  found.evaluations += evaluations;
  return found;
}

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
