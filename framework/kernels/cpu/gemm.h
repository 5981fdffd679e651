// Matrix products through libraries: oneDNN for f32 and bf16 where it is there, the BLAS for the rest. They run on one
// thread; the work is cut here, by shape alone, so that the same bits come out for any number of threads.
#pragma once

#include <cstdint>
#include <string_view>

#include "framework/base/dtype.h"

namespace gradus::cpu {

/// A row-major matrix as BLAS sees it: element (i, j) is data[i * stride + j], or data[j * stride + i] if transposed.
template <class T>
struct Matrix {
  const T* data;
  std::int64_t stride;
  bool transposed = false;
};

/// c (m,n) = alpha a (m,k) b (k,n) + beta c, on the calling thread. f32 and f64.
template <class T>
void gemm_on_this_thread(std::int64_t m, std::int64_t n, std::int64_t k, T alpha, Matrix<T> a, Matrix<T> b, T beta, T* c,
                         std::int64_t c_stride);

/// c (m,n) = a (m,k) b (k,n), plus bias[j] in column j where there is one, in parallel. Sums of bf16 products are f32
/// and are rounded once. <double, double>, <float, float>, <bfloat16, bfloat16>, <bfloat16, float>.
template <class T, class Out>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<T> a, Matrix<T> b, Out* c, std::int64_t c_stride,
          const Arithmetic<T>* bias = nullptr);

/// What multiplies bf16 matrices here: "AMX", "AVX-512 BF16", or "f32" where they are widened first.
std::string_view bf16_products();

/// While one lives, all products go through the BLAS: to compare, and to see that nothing depends on oneDNN.
class BlasOnlyScope {
 public:
  BlasOnlyScope();
  ~BlasOnlyScope();
  BlasOnlyScope(const BlasOnlyScope&) = delete;
  BlasOnlyScope& operator=(const BlasOnlyScope&) = delete;
};

}  // namespace gradus::cpu
