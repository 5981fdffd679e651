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
using std::erf;
using std::fabs;
using std::log;
using std::pow;
using std::sqrt;

/// e^x. Float: x = n ln 2 + r with |r| <= ln(2)/2, e^r by its Taylor polynomial of degree 7.
GRADUS_HOST_DEVICE inline double exp(double x) { return std::exp(x); }
GRADUS_HOST_DEVICE inline float exp(float x) {
  const float clamped = x < -104.0f ? -104.0f : (x > 89.0f ? 89.0f : x);  // a NaN stays
  const float shifted = clamped * std::numbers::log2e_v<float> + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
  const float n = shifted - 12582912.0f;
  float r = clamped - n * 0.693359375f;  // ln 2 in two parts
  r = r - n * -2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // 2^n in two factors, so that results below the normal range and up to the largest float come out right.
  const std::int32_t whole = std::bit_cast<std::int32_t>(shifted) - 0x4B400000;
  const std::int32_t half = whole / 2;
  const float scale1 = std::bit_cast<float>((half + 127) << 23);
  const float scale2 = std::bit_cast<float>((whole - half + 127) << 23);
  return p * scale1 * scale2;
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

}  // namespace gradus::functions
