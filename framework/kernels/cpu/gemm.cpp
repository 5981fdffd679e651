#include "framework/kernels/cpu/gemm.h"

#include <cblas.h>

#include <climits>

#include "framework/base/error.h"
#include "framework/kernels/cpu/parallel.h"

#ifdef GRADUS_OPENBLAS
extern "C" void openblas_set_num_threads(int);
#endif

namespace gradus::cpu {
namespace {

void one_blas_thread() {
#ifdef GRADUS_OPENBLAS
  static const bool done = (openblas_set_num_threads(1), true);
  (void)done;
#endif
}

void call_blas(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, float alpha, const float* a, int lda,
               const float* b, int ldb, float beta, float* c, int ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void call_blas(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, double alpha, const double* a, int lda,
               const double* b, int ldb, double beta, double* c, int ldc) {
  cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

template <class T>
const T* element(const Matrix<T>& matrix, std::int64_t row, std::int64_t column) {
  return matrix.data + (matrix.transposed ? column * matrix.stride + row : row * matrix.stride + column);
}

}  // namespace

template <class T>
void gemm_on_this_thread(std::int64_t m, std::int64_t n, std::int64_t k, T alpha, Matrix<T> a, Matrix<T> b, T beta, T* c,
                         std::int64_t c_stride) {
  if (m == 0 || n == 0) return;
  if (k == 0) {  // the empty sum, which BLAS libraries do not agree on
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) c[i * c_stride + j] = beta == T(0) ? T(0) : beta * c[i * c_stride + j];
    }
    return;
  }
  if (std::max({m, n, k, a.stride, b.stride, c_stride}) > INT_MAX) {
    fail("matrix product ({},{}) x ({},{}): the BLAS counts in 32 bits", m, k, k, n);
  }
  one_blas_thread();
  call_blas(a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans, int(m), int(n), int(k),
            alpha, a.data, int(a.stride), b.data, int(b.stride), beta, c, int(c_stride));
}

template <class T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, T alpha, Matrix<T> a, Matrix<T> b, T beta, T* c,
          std::int64_t c_stride) {
  constexpr std::int64_t worth_cutting = 1 << 20;  // multiply-adds
  if (m * n * std::max<std::int64_t>(k, 1) < worth_cutting) {
    gemm_on_this_thread(m, n, k, alpha, a, b, beta, c, c_stride);
    return;
  }
  // Tall results are cut in rows; small ones with a long inner axis (weight gradients) in a grid.
  const std::int64_t tile_m = m >= 1024 ? 512 : 128;
  const std::int64_t tile_n = m >= 1024 ? std::max<std::int64_t>(n, 1) : 256;
  const std::int64_t columns = (n + tile_n - 1) / tile_n;
  const std::int64_t tiles = (m + tile_m - 1) / tile_m * columns;
  one_blas_thread();
  parallel_for(tiles, 1, tile_m * tile_n * k / 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin; tile < end; ++tile) {
      const std::int64_t row = tile / columns * tile_m, column = tile % columns * tile_n;
      Matrix<T> tile_a = a, tile_b = b;
      tile_a.data = element(a, row, 0);
      tile_b.data = element(b, 0, column);
      gemm_on_this_thread(std::min(tile_m, m - row), std::min(tile_n, n - column), k, alpha, tile_a, tile_b, beta,
                          c + row * c_stride + column, c_stride);
    }
  });
}

template void gemm_on_this_thread(std::int64_t, std::int64_t, std::int64_t, float, Matrix<float>, Matrix<float>, float, float*, std::int64_t);
template void gemm_on_this_thread(std::int64_t, std::int64_t, std::int64_t, double, Matrix<double>, Matrix<double>, double, double*, std::int64_t);
template void gemm(std::int64_t, std::int64_t, std::int64_t, float, Matrix<float>, Matrix<float>, float, float*, std::int64_t);
template void gemm(std::int64_t, std::int64_t, std::int64_t, double, Matrix<double>, Matrix<double>, double, double*, std::int64_t);

}  // namespace gradus::cpu
