// Elementary functions of one number. In double they are the C library's; in float they are branch-free polynomials
// that compilers vectorise, accurate to about two units in the last place (tests/kernels_test.cpp measures them).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

#include "framework/random/philox.h"

namespace gradus::functions {

// Unqualified, so that a scalar type of its own (dual numbers) finds its own.
using std::fabs;
using std::pow;
using std::sqrt;

/// Float: x = 2^k m with m in [sqrt(1/2), sqrt 2). With f = m - 1, which is exact, and s = f / (2 + f):
/// ln m = 2 artanh s = f - s (f - r), r = 2 (s^2 / 3 + s^4 / 5 + ...) up to s^8.
GRADUS_HOST_DEVICE inline double log(double x) { return std::log(x); }
GRADUS_HOST_DEVICE inline float log(float x) {
  const bool subnormal = x < std::numeric_limits<float>::min();
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(subnormal ? x * 8388608.0f : x);  // 2^23
  const std::uint32_t root_half = std::bit_cast<std::uint32_t>(std::numbers::sqrt2_v<float> / 2);
  const std::int32_t whole = static_cast<std::int32_t>(bits - root_half) >> 23;
  const float k = static_cast<float>(subnormal ? whole - 23 : whole);
  const float f = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(whole) << 23)) - 1.0f;
  const float s = f / (2.0f + f);
  const float square = s * s;
  float r = 2.0f / 9;
  r = r * square + 2.0f / 7;
  r = r * square + 2.0f / 5;
  r = r * square + 2.0f / 3;
  r = r * square;
  const float of_m = f - s * (f - r);
  const float result = k * 0.693359375f + (of_m + k * -2.12194440e-4f);  // ln 2 in two parts
  const float infinity = std::numeric_limits<float>::infinity();
  const float outside = x == 0.0f ? -infinity : std::numeric_limits<float>::quiet_NaN();
  return x > 0.0f ? (x < infinity ? result : x) : outside;
}

namespace detail {
/// e^x = mantissa * 2^n, where `shifted` is n plus the offset.
template <class Float>
struct ExpParts {
  Float mantissa, shifted;
};

/// Of a float or a vector of floats: x = n ln 2 + r with |r| <= ln(2)/2, e^r by its Taylor polynomial of degree 7. The
/// offset is 1.5 * 2^23, which rounds to an integer, plus an integer of the caller's.
template <class Float>
GRADUS_HOST_DEVICE inline ExpParts<Float> exp_parts(const Float& x, float offset) {
  const Float shifted = x * std::numbers::log2e_v<float> + offset;
  const Float n = shifted - offset;
  Float r = x - n * 0.693359375f;  // ln 2 in two parts
  r = r - n * -2.12194440e-4f;
  Float p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return {p, shifted};
}
}  // namespace detail

/// e^x.
GRADUS_HOST_DEVICE inline double exp(double x) { return std::exp(x); }
GRADUS_HOST_DEVICE inline float exp(float x) {
  const float clamped = x < -104.0f ? -104.0f : (x > 89.0f ? 89.0f : x);  // a NaN stays
  const auto [mantissa, shifted] = detail::exp_parts(clamped, 12582912.0f);
  // 2^n in two factors, so that results below the normal range and up to the largest float come out right.
  const std::int32_t whole = std::bit_cast<std::int32_t>(shifted) - 0x4B400000;
  const std::int32_t half = whole / 2;
  const float scale1 = std::bit_cast<float>((half + 127) << 23);
  const float scale2 = std::bit_cast<float>((whole - half + 127) << 23);
  return mantissa * scale1 * scale2;
}

GRADUS_HOST_DEVICE inline double tanh(double x) { return std::tanh(x); }
GRADUS_HOST_DEVICE inline float tanh(float x) {
  const float magnitude = std::fabs(x);
  const float square = x * x;
  // Below 0.6: the odd Taylor series to x^15; its first omitted term is under 3e-7 of the result.
  float series = -929569.0f / 638512875;
  series = series * square + 21844.0f / 6081075;
  series = series * square - 1382.0f / 155925;
  series = series * square + 62.0f / 2835;
  series = series * square - 17.0f / 315;
  series = series * square + 2.0f / 15;
  series = series * square - 1.0f / 3;
  series = series * square * x + x;
  const float large = 1.0f - 2.0f / (exp(2.0f * magnitude) + 1.0f);
  return std::copysign(magnitude < 0.6f ? std::fabs(series) : large, x);
}

template <class T>
GRADUS_HOST_DEVICE inline T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

// The slopes of sigmoid and tanh, from the input: y (1 - y) and 1 - y^2 are differences of nearly equal numbers where y
// nears 1, and 0 where it rounds to 1. Neither form below subtracts, and an error of e, relative, comes through at most
// once in e / (1 + e)^2 and in e / (1 + e^2). With u the unit roundoff and exp within 4 u (2 units in the last place):

/// e / (1 + e)^2 for e = e^-|x|: within 4 u (exp) + 2 u (1 + e, squared) + 2 u (product, quotient) = 8 u, relative.
template <class T>
GRADUS_HOST_DEVICE inline T sigmoid_slope(T x) {
  const T e = exp(-fabs(x));
  const T sum = T(1) + e;
  return e / (sum * sum);
}

/// The square of 2 e / (1 + e^2) for e = e^-|x|: the factor within 4 u (exp) + 1.5 u (1 + e^2) + u (quotient), the square
/// within 14 u, relative.
template <class T>
GRADUS_HOST_DEVICE inline T tanh_slope(T x) {
  const T e = exp(-fabs(x));
  const T secant = T(2) * e / (T(1) + e * e);
  return secant * secant;
}

/// The standard normal density.
template <class T>
GRADUS_HOST_DEVICE inline T normal_pdf(T x) {
  return T(std::numbers::inv_sqrtpi / std::numbers::sqrt2) * exp(T(-0.5) * x * x);
}

/// The standard normal distribution function and its density.
template <class T>
struct NormalPoint {
  T cdf, pdf;
};

/// Phi(x) = (1 + erf(x / sqrt 2)) / 2.
GRADUS_HOST_DEVICE inline double normal_cdf(double x) { return 0.5 * std::erfc(-x * std::numbers::sqrt2 / 2); }
template <class T>
GRADUS_HOST_DEVICE inline NormalPoint<T> normal_point(T x) {
  return {normal_cdf(x), normal_pdf(x)};
}

/// Float: both from one exponential, e = exp(-m^2 / 2) for m = |x|. Phi(-m) = e t p(t - 0.6) with t = 1 / (1 + m / 2):
/// Mills' ratio over sqrt(2 pi), fitted on [0, 9.5] to a relative error of 2e-8.
GRADUS_HOST_DEVICE inline NormalPoint<float> normal_point(float x) {
  const float magnitude = std::fabs(x);
  const float e = exp(-0.5f * magnitude * magnitude);
  const float t = 1.0f / (1.0f + 0.5f * (magnitude > 9.5f ? 9.5f : magnitude));
  const float u = t - 0.6f;
  float p = -3.775039442e-02f;
  p = p * u + 5.247174345e-02f;
  p = p * u + 6.854455587e-03f;
  p = p * u - 7.348635500e-02f;
  p = p * u + 6.519883191e-02f;
  p = p * u + 3.960146911e-02f;
  p = p * u - 1.390026333e-01f;
  p = p * u + 1.428142025e-02f;
  p = p * u + 3.385520964e-01f;
  p = p * u + 3.697741560e-01f;
  const float tail = e * (t * p);
  return {x > 0.0f ? 1.0f - tail : tail, static_cast<float>(std::numbers::inv_sqrtpi / std::numbers::sqrt2) * e};
}
GRADUS_HOST_DEVICE inline float normal_cdf(float x) { return normal_point(x).cdf; }

/// Float: below 0.9 the Taylor series to x^17, whose first omitted term is under 3e-8 of the result; above, from the
/// tail of the normal distribution.
GRADUS_HOST_DEVICE inline double erf(double x) { return std::erf(x); }
GRADUS_HOST_DEVICE inline float erf(float x) {
  const float magnitude = std::fabs(x);
  const float square = x * x;
  float series = 1.0f / 685440;
  series = series * square - 1.0f / 75600;
  series = series * square + 1.0f / 9360;
  series = series * square - 1.0f / 1320;
  series = series * square + 1.0f / 216;
  series = series * square - 1.0f / 42;
  series = series * square + 1.0f / 10;
  series = series * square - 1.0f / 3;
  series = series * square * x + x;
  const float small = 2 * std::numbers::inv_sqrtpi_v<float> * series;
  const float large = 1.0f - 2.0f * normal_cdf(-std::numbers::sqrt2_v<float> * magnitude);
  return std::copysign(magnitude < 0.9f ? std::fabs(small) : large, x);
}

}  // namespace gradus::functions
