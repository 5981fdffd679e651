#include "framework/kernels/cuda/kernel.h"
#include "framework/kernels/cuda/product_kernels.h"
#include "framework/kernels/shared/scalar_functions.h"

namespace gradus::cuda {
namespace {

constexpr int naive_threads = 256;

/// A factor as `lines` that are multiplied along `depth`: rows of a, columns of b.
template <class T>
struct Lines {
  const T* data;
  std::int64_t line_stride, depth_stride;

  __device__ __forceinline__ Arithmetic<T> at(std::int64_t line, std::int64_t p) const {
    return Arithmetic<T>(data[line * line_stride + p * depth_stride]);
  }
};

template <class T>
GRADUS_HOST_DEVICE Lines<T> rows_of(const MatrixOperand<T>& a, std::int64_t batch) {
  return {a.data + batch * a.batch_stride, a.transposed ? 1 : a.stride, a.transposed ? a.stride : 1};
}
template <class T>
GRADUS_HOST_DEVICE Lines<T> columns_of(const MatrixOperand<T>& b, std::int64_t batch) {
  return {b.data + batch * b.batch_stride, b.transposed ? b.stride : 1, b.transposed ? 1 : b.stride};
}

/// From the sum to c[i,j].
template <class T, class Out, class A = Arithmetic<T>>
__device__ __forceinline__ void finish(const MatrixProduct<T, Out>& product, std::int64_t batch, std::int64_t i,
                                       std::int64_t j, A sum) {
  const functions::GeluTanh gelu;
  Out& c = product.c.data[batch * product.c.batch_stride + i * product.c.stride + j];
  const std::int64_t place = i * product.pre_activation.stride + j;
  A value = product.alpha * sum;
  if (product.beta != A(0)) value += product.beta * A(c);
  switch (product.epilogue) {
    case Epilogue::bias: value += A(product.bias[j]); break;
    case Epilogue::gelu:
      value += A(product.bias[j]);
      product.pre_activation.data[place] = Out(value);
      value = gelu.value(value);
      break;
    case Epilogue::gelu_gradient: value *= gelu.derivative(A(product.pre_activation.data[place]), A(0)); break;
    default: break;
  }
  c = Out(value);
}

template <class T, class Out>
__global__ void __launch_bounds__(naive_threads) naive_kernel(MatrixProduct<T, Out> product) {
  const std::int64_t index = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t elements = product.m * product.n;
  if (index >= elements * product.batches) return;
  const std::int64_t batch = index / elements, i = index % elements / product.n, j = index % product.n;
  const Lines<T> a = rows_of(product.a, batch), b = columns_of(product.b, batch);
  Arithmetic<T> sum = 0;
  for (std::int64_t p = 0; p < product.k; ++p) sum += a.at(i, p) * b.at(j, p);
  finish(product, batch, i, j, sum);
}

/// sums[line] = sum of the line.
template <class T, class Out>
__global__ void __launch_bounds__(naive_threads)
    sums_kernel(Out* sums, Lines<T> factor, std::int64_t lines, std::int64_t depth) {
  const std::int64_t line = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (line >= lines) return;
  Arithmetic<T> sum = 0;
  for (std::int64_t p = 0; p < depth; ++p) sum += factor.at(line, p);
  sums[line] = Out(sum);
}

// A block computes a tile of c, tile x tile, in steps of `depth` along k. Thread (x, y) of it has the elements
// (y + 16 r, x + 16 s): so neighbours read neighbours in shared memory, and write neighbours of c.
constexpr int tile = 64, depth = 16, side = 16, each = tile / side;

/// `tile` lines along `depth`, of which a line is a column; one more column, so that writing one meets all banks.
template <class A>
using Panel = A[depth][tile + 1];

/// Zero beyond the last line and the end of the lines. Neighbouring threads read what lies side by side.
template <class T, class A = Arithmetic<T>>
__device__ __forceinline__ void load(Panel<A>& panel, const Lines<T>& factor, std::int64_t first_line,
                                     std::int64_t lines, std::int64_t first_p, std::int64_t k) {
  const bool along_depth = factor.depth_stride == 1;
  for (int index = threadIdx.x; index < tile * depth; index += side * side) {
    const int p = along_depth ? index % depth : index / tile, line = along_depth ? index / depth : index % tile;
    const bool inside = first_line + line < lines && first_p + p < k;
    panel[p][line] = inside ? factor.at(first_line + line, first_p + p) : A(0);
  }
}

template <class T, class Out>
__global__ void __launch_bounds__(side* side) tiles_kernel(MatrixProduct<T, Out> product) {
  using A = Arithmetic<T>;
  auto& rows = shared_array<Panel<A>, struct tile_of_a>();
  auto& columns = shared_array<Panel<A>, struct tile_of_b>();
  const std::int64_t down = blocks_for(product.m, tile), across = blocks_for(product.n, tile);
  const std::int64_t batch = blockIdx.x / (down * across), place = blockIdx.x % (down * across);
  const std::int64_t first_i = place / across * tile, first_j = place % across * tile;
  const Lines<T> a = rows_of(product.a, batch), b = columns_of(product.b, batch);
  const int x = threadIdx.x % side, y = threadIdx.x / side;

  A sums[each][each] = {};
  for (std::int64_t first_p = 0; first_p < product.k; first_p += depth) {
    load(rows, a, first_i, product.m, first_p, product.k);
    load(columns, b, first_j, product.n, first_p, product.k);
    __syncthreads();
#pragma unroll
    for (int p = 0; p < depth; ++p) {
      A of_row[each], of_column[each];
#pragma unroll
      for (int r = 0; r < each; ++r) of_row[r] = rows[p][y + side * r];
#pragma unroll
      for (int s = 0; s < each; ++s) of_column[s] = columns[p][x + side * s];
#pragma unroll
      for (int r = 0; r < each; ++r) {
#pragma unroll
        for (int s = 0; s < each; ++s) sums[r][s] += of_row[r] * of_column[s];
      }
    }
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < each; ++r) {
    const std::int64_t i = first_i + y + side * r;
#pragma unroll
    for (int s = 0; s < each; ++s) {
      const std::int64_t j = first_j + x + side * s;
      if (i < product.m && j < product.n) finish(product, batch, i, j, sums[r][s]);
    }
  }
}

template <class T, class Out>
void sum_lines(const MatrixProduct<T, Out>& product, Stream stream) {
  const bool of_a = product.epilogue == Epilogue::sums_of_a, of_b = product.epilogue == Epilogue::sums_of_b;
  const std::int64_t lines = of_a ? product.m : of_b ? product.n : 0;
  if (lines == 0) return;
  launch<sums_kernel<T, Out>>({.blocks = blocks_for(lines, naive_threads), .threads = naive_threads, .stream = stream},
                              product.sums, of_a ? rows_of(product.a, 0) : columns_of(product.b, 0), lines, product.k);
}

}  // namespace

template <class T, class Out>
void products::naive_product(const MatrixProduct<T, Out>& product, Stream stream) {
  sum_lines(product, stream);
  const std::int64_t elements = product.m * product.n * product.batches;
  if (elements == 0) return;
  launch<naive_kernel<T, Out>>(
      {.blocks = blocks_for(elements, naive_threads), .threads = naive_threads, .stream = stream}, product);
}

template <class T, class Out>
void products::tiled_product(const MatrixProduct<T, Out>& product, Stream stream) {
  sum_lines(product, stream);
  const std::int64_t tiles = blocks_for(product.m, tile) * blocks_for(product.n, tile) * product.batches;
  if (tiles == 0) return;
  launch<tiles_kernel<T, Out>>({.blocks = tiles, .threads = side * side, .stream = stream}, product);
}

#define GRADUS_INSTANTIATE(T, Out)                                             \
  template void products::naive_product(const MatrixProduct<T, Out>&, Stream); \
  template void products::tiled_product(const MatrixProduct<T, Out>&, Stream);
GRADUS_INSTANTIATE(double, double)
GRADUS_INSTANTIATE(float, float)
GRADUS_INSTANTIATE(bfloat16, bfloat16)
GRADUS_INSTANTIATE(bfloat16, float)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::cuda
