// What the tests of the kernel families share: values, units in the last place.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "framework/base/bfloat16.h"

/// Half the distance of 1 and the next number: the relative error of one rounding.
template <class T>
inline constexpr double rounding_error = std::numeric_limits<T>::epsilon() / 2.0;
template <>
inline constexpr double rounding_error<gradus::bfloat16> = 1.0 / 256;

template <class T>
std::vector<T> normal_values(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  std::vector<T> values(count);
  for (T& value : values) value = T(normal(random));
  return values;
}

/// True if they differ by no more than `bound`, or are the same infinity, or both NaN.
inline bool is_close(double found, double expected, double bound) {
  if (std::isnan(expected)) return std::isnan(found);
  return found == expected || std::fabs(found - expected) <= bound;
}

/// The same bits, NaN beside NaN.
template <class T>
bool are_same(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}
