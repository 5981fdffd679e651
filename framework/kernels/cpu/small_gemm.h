// Products of matrices that lie in the cache: for kernels that multiply in the midst of other work, where a library's
// call would cost as much as the product.
#pragma once

#include <cstdint>

#include "framework/kernels/cpu/lanes.h"

namespace gradus::cpu {

namespace detail {

/// c (rows, steps * lanes) (+)= a (rows, k) b, with all of c in registers.
template <class T, int rows, int steps>
inline void multiply_tile(std::int64_t k, const T* a, std::int64_t a_row, std::int64_t a_column, const T* b,
                          std::int64_t b_row, T* c, std::int64_t c_row, bool add) {
  constexpr std::int64_t lanes = lane_count<T>;
  Lanes<T> sums[rows][steps] = {};
  for (std::int64_t p = 0; p < k; ++p) {
    Lanes<T> right[steps];
    for (int s = 0; s < steps; ++s) right[s] = load_lanes(b + p * b_row + s * lanes);
    for (int r = 0; r < rows; ++r) {
      const T left = a[r * a_row + p * a_column];
      for (int s = 0; s < steps; ++s) sums[r][s] += left * right[s];
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int s = 0; s < steps; ++s) {
      T* to = c + r * c_row + s * lanes;
      store_lanes(to, add ? load_lanes(to) + sums[r][s] : sums[r][s]);
    }
  }
}

template <class T, int rows>
inline void multiply_rows(std::int64_t n, std::int64_t k, const T* a, std::int64_t a_row, std::int64_t a_column,
                          const T* b, std::int64_t b_row, T* c, std::int64_t c_row, bool add) {
  constexpr std::int64_t lanes = lane_count<T>;
  std::int64_t j = 0;
  for (; j + 2 * lanes <= n; j += 2 * lanes)
    multiply_tile<T, rows, 2>(k, a, a_row, a_column, b + j, b_row, c + j, c_row, add);
  for (; j < n; j += lanes) multiply_tile<T, rows, 1>(k, a, a_row, a_column, b + j, b_row, c + j, c_row, add);
}

}  // namespace detail

/// c (m,n) = a (m,k) b (k,n), or += with `add`. Element (i,p) of a is a[i * a_row + p * a_column]; b and c are
/// row-major with room for n rounded up to a multiple of lane_count.
template <class T>
void small_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const T* a, std::int64_t a_row, std::int64_t a_column,
                const T* b, std::int64_t b_row, T* c, std::int64_t c_row, bool add = false) {
  std::int64_t i = 0;
  for (; i + 8 <= m; i += 8)
    detail::multiply_rows<T, 8>(n, k, a + i * a_row, a_row, a_column, b, b_row, c + i * c_row, c_row, add);
  for (; i + 4 <= m; i += 4)
    detail::multiply_rows<T, 4>(n, k, a + i * a_row, a_row, a_column, b, b_row, c + i * c_row, c_row, add);
  for (; i < m; ++i)
    detail::multiply_rows<T, 1>(n, k, a + i * a_row, a_row, a_column, b, b_row, c + i * c_row, c_row, add);
}

}  // namespace gradus::cpu
