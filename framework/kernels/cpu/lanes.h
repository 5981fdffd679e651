// A whole vector register of numbers as one value, for kernels whose rows are too short for the compiler's own loops.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "framework/kernels/shared/scalar_math.h"

namespace gradus::cpu {

/// Numbers in one cache line, which is what the widest registers hold.
template <class T>
inline constexpr std::int64_t lane_count = 64 / sizeof(T);

namespace detail {
template <class T, std::int64_t count>
struct VectorOf {
  typedef T type __attribute__((vector_size(count * sizeof(T))));
};
}  // namespace detail

/// lane_count<T> numbers with element-wise operators (a vector type of GCC and Clang).
template <class T>
using Lanes = typename detail::VectorOf<T, lane_count<T>>::type;

template <class T>
Lanes<T> load_lanes(const T* from) {
  Lanes<T> lanes;
  std::memcpy(&lanes, from, sizeof(lanes));
  return lanes;
}
template <class T>
void store_lanes(T* to, const Lanes<T>& lanes) {
  std::memcpy(to, &lanes, sizeof(lanes));
}

/// 0, 1, 2, ...
template <class Integer>
Lanes<Integer> lane_numbers() {
  Lanes<Integer> numbers;
  for (std::int64_t i = 0; i < lane_count<Integer>; ++i) numbers[i] = static_cast<Integer>(i);
  return numbers;
}

namespace detail {
/// combine(lower half, upper half), and so on down to one number.
template <class T, std::int64_t count, class Combine>
T reduce(const typename VectorOf<T, count>::type& lanes, const Combine& combine) {
  if constexpr (count == 2) {
    return combine(lanes[0], lanes[1]);
  } else {
    return [&]<int... i>(std::integer_sequence<int, i...>) {
      return reduce<T, count / 2>(combine(__builtin_shufflevector(lanes, lanes, i...),
                                          __builtin_shufflevector(lanes, lanes, (i + int(count / 2))...)),
                                  combine);
    }(std::make_integer_sequence<int, int(count / 2)>{});
  }
}
}  // namespace detail

template <class T>
T sum_of_lanes(const Lanes<T>& lanes) {
  return detail::reduce<T, lane_count<T>>(lanes, [](const auto& a, const auto& b) { return a + b; });
}
template <class T>
T largest_of_lanes(const Lanes<T>& lanes) {
  return detail::reduce<T, lane_count<T>>(lanes, [](const auto& a, const auto& b) { return a > b ? a : b; });
}

/// e^x of x <= 0. Float: as functions::exp does it, but e^-87 for everything below -87, which takes half the work and serves
/// where such terms are added to a 1.
inline Lanes<double> exp_of_negative(Lanes<double> x) {
  for (std::int64_t lane = 0; lane < lane_count<double>; ++lane) x[lane] = std::exp(x[lane]);
  return x;
}
inline Lanes<float> exp_of_negative(const Lanes<float>& x) {
  const Lanes<float> clamped = x < -87.0f ? Lanes<float>{} - 87.0f : x;  // a NaN stays
  const auto [mantissa, shifted] = functions::detail::exp_parts(clamped, 12582912.0f + 127);
  return mantissa * reinterpret_cast<Lanes<float>>(reinterpret_cast<Lanes<std::uint32_t>>(shifted) << 23);  // times 2^n
}

}  // namespace gradus::cpu
