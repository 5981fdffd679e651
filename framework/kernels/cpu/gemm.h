// Matrix products through the BLAS. The library runs on one thread; the work is cut here, by shape alone, so that the
// same bits come out for any number of threads.
#pragma once

#include <cstdint>

namespace gradus::cpu {

/// A row-major matrix as BLAS sees it: element (i, j) is data[i * stride + j], or data[j * stride + i] if transposed.
template <class T>
struct Matrix {
  const T* data;
  std::int64_t stride;
  bool transposed = false;
};

/// c (m,n) = a (m,k) b (k,n) + beta c, on the calling thread.
template <class T>
void gemm_on_this_thread(std::int64_t m, std::int64_t n, std::int64_t k, T alpha, Matrix<T> a, Matrix<T> b, T beta, T* c,
                         std::int64_t c_stride);

/// The same, cut into tiles that run in parallel.
template <class T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, T alpha, Matrix<T> a, Matrix<T> b, T beta, T* c,
          std::int64_t c_stride);

}  // namespace gradus::cpu
