#include "framework/kernels/cpu/gemm.h"

#include <cblas.h>

#include <climits>
#include <vector>

#include "framework/base/error.h"
#include "framework/kernels/cpu/onednn.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/room.h"
#include "framework/tensor/tensor.h"

#ifdef GRADUS_OPENBLAS
extern "C" void openblas_set_num_threads(int);
#endif

namespace gradus::cpu {
namespace {

void prepare_blas() {
#ifdef GRADUS_OPENBLAS
  static const bool on_one_thread = (openblas_set_num_threads(1), true);
  // A thread's first product takes 128 MB of addresses; where it does not get them OpenBLAS asks for ever.
  thread_local const bool has_room = (require_room(160 << 20), true);
  (void)on_one_thread, (void)has_room;
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

bool blas_only = false;

bool by_onednn(DType dtype) { return !blas_only && onednn::is_available(dtype); }

template <class T>
const T* element(const Matrix<T>& matrix, std::int64_t row, std::int64_t column) {
  return matrix.data + (matrix.transposed ? column * matrix.stride + row : row * matrix.stride + column);
}

/// Multiply-adds below which making a kernel for the shape would cost more than it gives.
constexpr std::int64_t worth_a_kernel = 1 << 16;

/// A stretch of an axis: [begin, begin + size).
struct Piece {
  std::int64_t begin, size;
};

/// `count` in pieces of `whole`, the rest in falling powers of two and less than 16: few sizes, for libraries that make
/// a kernel for each.
std::vector<Piece> pieces_of(std::int64_t count, std::int64_t whole) {
  std::vector<Piece> pieces;
  for (std::int64_t begin = 0; begin < count; begin += pieces.back().size) {
    std::int64_t size = whole;
    while (size > count - begin && size > 16) size /= 2;
    pieces.push_back({begin, std::min(size, count - begin)});
  }
  return pieces;
}

/// c = a b + bias on this thread.
template <class T, class Out>
void product_of_tile(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<T> a, Matrix<T> b,
                     const Arithmetic<T>* bias, Out* c, std::int64_t c_stride) {
  if constexpr (!std::is_same_v<T, double>) {
    const bool worth_it = std::is_same_v<T, bfloat16> || m * n * k >= worth_a_kernel;
    if (worth_it && by_onednn(dtype_of<T>)) return onednn::product(m, n, k, a, b, bias, c, c_stride);
  }
  if constexpr (!std::is_same_v<T, bfloat16>) {
    for (std::int64_t i = 0; bias && i < m; ++i) std::copy_n(bias, n, c + i * c_stride);
    gemm_on_this_thread<T>(m, n, k, T(1), a, b, bias ? T(1) : T(0), c, c_stride);
  }
}

/// Few elements with a long inner axis, as in gradients of weights: the inner axis is cut, the parts are added in
/// order.
template <class T, class Out>
void gemm_in_slices(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<T> a, Matrix<T> b, const Arithmetic<T>* bias,
                    Out* c, std::int64_t c_stride) {
  using Sum = Arithmetic<T>;
  const std::vector<Piece> slices = pieces_of(k, 2048);
  const Tensor partial = Tensor::empty({std::int64_t(slices.size()), m, n}, dtype_of<Sum>);
  Sum* const sums = partial.fresh_data<Sum>();
  parallel_for(std::int64_t(slices.size()), 1, m * n * 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      Matrix<T> slice_a = a, slice_b = b;
      slice_a.data = element(a, 0, slices[i].begin);
      slice_b.data = element(b, slices[i].begin, 0);
      product_of_tile<T, Sum>(m, n, slices[i].size, slice_a, slice_b, nullptr, sums + i * m * n, n);
    }
  });
  parallel_for(m, 16, n * std::int64_t(slices.size()), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      Sum* total = sums + row * n;
      for (std::size_t i = 1; i < slices.size(); ++i) {
        const Sum* part = total + i * m * n;
#pragma omp simd
        for (std::int64_t j = 0; j < n; ++j) total[j] += part[j];
      }
      for (std::int64_t j = 0; j < n; ++j) c[row * c_stride + j] = Out(bias ? total[j] + bias[j] : total[j]);
    }
  });
}

template <class T, class Out>
void gemm_in_tiles(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<T> a, Matrix<T> b, const Arithmetic<T>* bias,
                   Out* c, std::int64_t c_stride) {
  const std::vector<Piece> rows = pieces_of(m, m >= 4096 ? 512 : 256), columns = pieces_of(n, m >= 512 ? n : 256);
  parallel_for(std::int64_t(rows.size() * columns.size()), 1, 16 * n * k, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin; tile < end; ++tile) {
      const Piece row = rows[tile / columns.size()], column = columns[tile % columns.size()];
      Matrix<T> tile_a = a, tile_b = b;
      tile_a.data = element(a, row.begin, 0);
      tile_b.data = element(b, 0, column.begin);
      product_of_tile<T, Out>(row.size, column.size, k, tile_a, tile_b, bias ? bias + column.begin : nullptr,
                              c + row.begin * c_stride + column.begin, c_stride);
    }
  });
}

/// The elements of a (rows, columns) as f32, in the same order.
Tensor widened(std::int64_t rows, std::int64_t columns, Matrix<bfloat16> matrix, Matrix<float>& view) {
  const std::int64_t outer = matrix.transposed ? columns : rows, inner = matrix.transposed ? rows : columns;
  const Tensor wide = Tensor::empty({outer, inner}, DType::f32);
  float* const to = wide.fresh_data<float>();
  parallel_for(outer, 64, inner, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t j = 0; j < inner; ++j) to[i * inner + j] = float(matrix.data[i * matrix.stride + j]);
    }
  });
  view = {to, std::max<std::int64_t>(1, inner), matrix.transposed};
  return wide;
}

/// Where no library multiplies bf16: in f32, rounded at the end.
template <class Out>
void gemm_widened(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<bfloat16> a, Matrix<bfloat16> b,
                  const float* bias, Out* c, std::int64_t c_stride) {
  Matrix<float> wide_a, wide_b;
  const Tensor a_memory = widened(m, k, a, wide_a), b_memory = widened(k, n, b, wide_b);
  const Tensor result = Tensor::empty({m, n}, DType::f32);
  float* const sums = result.fresh_data<float>();
  gemm<float, float>(m, n, k, wide_a, wide_b, sums, std::max<std::int64_t>(1, n), bias);
  parallel_for(m, 64, n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      for (std::int64_t j = 0; j < n; ++j) c[i * c_stride + j] = Out(sums[i * n + j]);
    }
  });
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
  prepare_blas();
  call_blas(a.transposed ? CblasTrans : CblasNoTrans, b.transposed ? CblasTrans : CblasNoTrans, int(m), int(n), int(k),
            alpha, a.data, int(a.stride), b.data, int(b.stride), beta, c, int(c_stride));
}

template <class T, class Out>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Matrix<T> a, Matrix<T> b, Out* c, std::int64_t c_stride,
          const Arithmetic<T>* bias) {
  if (m == 0 || n == 0) return;
  if constexpr (std::is_same_v<T, bfloat16>) {
    if (m * n * k < worth_a_kernel || !by_onednn(DType::bf16)) return gemm_widened(m, n, k, a, b, bias, c, c_stride);
  }
  constexpr std::int64_t worth_cutting = 1 << 20;  // multiply-adds
  if (m * n * k < worth_cutting) return product_of_tile<T, Out>(m, n, k, a, b, bias, c, c_stride);
  if (k >= 4096 && m * n <= 1 << 20) return gemm_in_slices(m, n, k, a, b, bias, c, c_stride);
  gemm_in_tiles(m, n, k, a, b, bias, c, c_stride);
}

std::string_view bf16_products() { return blas_only ? "f32" : onednn::bf16_products(); }

BlasOnlyScope::BlasOnlyScope() { blas_only = true; }
BlasOnlyScope::~BlasOnlyScope() { blas_only = false; }

template void gemm_on_this_thread(std::int64_t, std::int64_t, std::int64_t, float, Matrix<float>, Matrix<float>, float, float*, std::int64_t);
template void gemm_on_this_thread(std::int64_t, std::int64_t, std::int64_t, double, Matrix<double>, Matrix<double>, double, double*, std::int64_t);
template void gemm(std::int64_t, std::int64_t, std::int64_t, Matrix<float>, Matrix<float>, float*, std::int64_t,
                   const float*);
template void gemm(std::int64_t, std::int64_t, std::int64_t, Matrix<double>, Matrix<double>, double*, std::int64_t,
                   const double*);
template void gemm(std::int64_t, std::int64_t, std::int64_t, Matrix<bfloat16>, Matrix<bfloat16>, bfloat16*,
                   std::int64_t, const float*);
template void gemm(std::int64_t, std::int64_t, std::int64_t, Matrix<bfloat16>, Matrix<bfloat16>, float*, std::int64_t,
                   const float*);

}  // namespace gradus::cpu
