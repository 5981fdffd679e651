// Small helpers on row-major values, for the checker's files.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "framework/kernels/cpu/copy.h"
#include "framework/tensor/tensor.h"

namespace gradus::testing {

/// Copies for a call that may not touch what it is given.
inline Tensors clones(const Tensors& tensors) {
  Tensors copies;
  for (const Tensor& tensor : tensors) copies.push_back(tensor.defined() ? cpu::clone(tensor) : tensor);
  return copies;
}

using Numbers = std::vector<double>;

/// Values of a gradient; an undefined one is zero.
inline Numbers numbers_of(const Tensor& gradient, std::int64_t count) {
  return gradient.defined() ? gradient.to_vector<double>() : Numbers(static_cast<std::size_t>(count), 0.0);
}

inline double largest_magnitude(const Numbers& values) {
  double largest = 0;
  for (const double value : values) {
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  }
  return largest;
}

inline bool all_finite(const Numbers& values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

/// Largest |a - b|; infinity where one is NaN and the other is not.
inline double largest_difference(const Numbers& a, const Numbers& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t e = 0; e < a.size(); ++e) {
    if (a[e] == b[e] || (std::isnan(a[e]) && std::isnan(b[e]))) continue;
    const double difference = std::fabs(a[e] - b[e]);
    largest = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(largest, difference);
  }
  return largest;
}

/// The unit roundoff of the coarsest format that holds all of these doubles: bf16, f32 or f64.
inline double precision_of(const Numbers& values) {
  bool singles = true, halves = true;
  for (const double value : values) {
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    singles &= (bits & ((1ull << 29) - 1)) == 0;
    halves &= (bits & ((1ull << 45) - 1)) == 0;
  }
  return halves ? 0x1p-8 : singles ? 0x1p-24 : 0x1p-53;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.defined() != b.defined()) return false;
  if (!a.defined()) return true;
  if (a.spec() != b.spec()) return false;
  const Tensor x = cpu::contiguous(a), y = cpu::contiguous(b);
  return x.numel() == 0 ||
         std::memcmp(x.bytes(), y.bytes(), static_cast<std::size_t>(x.numel()) * size_in_bytes(x.dtype())) == 0;
}

}  // namespace gradus::testing
