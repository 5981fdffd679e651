// Dual numbers: a value and its derivative along one direction. A function templated on the scalar type, given duals,
// returns its exact derivative (forward mode), by the rules below and none of its own.
#pragma once

#include <cmath>
#include <compare>
#include <limits>
#include <numbers>

namespace gradus::functions {

struct Dual {
  double value = 0, slope = 0;

  constexpr Dual() = default;
  constexpr Dual(double value, double slope = 0) : value(value), slope(slope) {}

  friend constexpr Dual operator-(Dual a) { return {-a.value, -a.slope}; }
  friend constexpr Dual operator+(Dual a, Dual b) { return {a.value + b.value, a.slope + b.slope}; }
  friend constexpr Dual operator-(Dual a, Dual b) { return {a.value - b.value, a.slope - b.slope}; }
  friend constexpr Dual operator*(Dual a, Dual b) { return {a.value * b.value, a.slope * b.value + a.value * b.slope}; }
  friend constexpr Dual operator/(Dual a, Dual b) {
    const double y = a.value / b.value;
    return {y, (a.slope - y * b.slope) / b.value};
  }
  friend constexpr bool operator==(Dual a, Dual b) { return a.value == b.value; }
  friend constexpr auto operator<=>(Dual a, Dual b) { return a.value <=> b.value; }
};

inline Dual exp(Dual x) {
  const double y = std::exp(x.value);
  return {y, y * x.slope};
}
inline Dual log(Dual x) { return {std::log(x.value), x.slope / x.value}; }
inline Dual sqrt(Dual x) {
  const double y = std::sqrt(x.value);
  return {y, x.slope / (2 * y)};
}
inline Dual tanh(Dual x) {
  const double y = std::tanh(x.value), c = std::cosh(x.value);  // 1 - y^2 would cancel where tanh saturates
  return {y, x.slope / (c * c)};
}
/// At 0 the slope of the side that the direction points to.
inline Dual fabs(Dual x) {
  return x.value > 0 || (x.value == 0 && x.slope > 0) ? x : -x;
}
inline Dual erf(Dual x) {
  return {std::erf(x.value), 2 * std::numbers::inv_sqrtpi * std::exp(-x.value * x.value) * x.slope};
}
/// A constant exponent.
inline Dual pow(Dual x, Dual exponent) {
  const double n = exponent.value;
  return {std::pow(x.value, n), n == 0 ? 0 : n * std::pow(x.value, n - 1) * x.slope};
}
inline Dual normal_cdf(Dual x) {
  const double density = std::numbers::inv_sqrtpi / std::numbers::sqrt2 * std::exp(-0.5 * x.value * x.value);
  return {0.5 * std::erfc(-x.value / std::numbers::sqrt2), density * x.slope};
}

}  // namespace gradus::functions

template <>
struct std::numeric_limits<gradus::functions::Dual> : std::numeric_limits<double> {
  static constexpr gradus::functions::Dual infinity() { return std::numeric_limits<double>::infinity(); }
};
