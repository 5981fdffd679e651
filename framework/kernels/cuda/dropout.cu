#include "framework/kernels/cuda/dropout.h"

#include <algorithm>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/element_mask.h"
#include "framework/kernels/cuda/pack.h"

namespace gradus::cuda {
namespace {

constexpr int threads = 256;
constexpr std::int64_t most_blocks = 2048;  // fills the largest devices; the rest is done in strides of the grid

template <bool adds, class T, class A = Arithmetic<T>>
__device__ __forceinline__ T masked(T x, T residual, A factor) {
  return adds ? T(A(residual) + A(x) * factor) : T(A(x) * factor);
}

template <bool adds, class T>
__global__ void __launch_bounds__(threads)
    naive_kernel(T* y, const T* x, const T* residual, std::int64_t n, ElementMask<Arithmetic<T>> mask) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  y[i] = masked<adds>(x[i], adds ? residual[i] : T(), mask.factor(random::philox_word(mask.seed, mask.stream(), i)));
}

/// Packs of `count` neighbours, 4 at most, for which one Philox block has the words.
template <bool adds, int count, class T>
__device__ __forceinline__ void drop_neighbours(T* y, const T* x, const T* residual, const random::Philox4& words,
                                                int first_word, const ElementMask<Arithmetic<T>>& mask) {
  Pack<T, count> pack = load_pack<count>(x), direct = {};
  if constexpr (adds) direct = load_pack<count>(residual);
#pragma unroll
  for (int i = 0; i < count; ++i) pack[i] = masked<adds>(pack[i], direct[i], mask.factor(words.word[first_word + i]));
  store_pack(y, pack);
}

/// A Philox block by each thread. `aligned`: all can be read and written in packs.
template <bool adds, bool aligned, class T>
__global__ void __launch_bounds__(threads)
    blocks_kernel(T* y, const T* x, const T* residual, std::int64_t n, ElementMask<Arithmetic<T>> mask) {
  constexpr int count = widest_pack<T> < 4 ? widest_pack<T> : 4;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  const std::uint64_t stream = mask.stream();
  for (std::int64_t four = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; 4 * four < n; four += stride) {
    const random::Philox4 words = random::philox_block(mask.seed, stream, four);
    const std::int64_t first = 4 * four;
    if (aligned && first + 4 <= n) {
#pragma unroll
      for (int lane = 0; lane < 4; lane += count) {
        drop_neighbours<adds, count>(y + first + lane, x + first + lane, residual + (adds ? first + lane : 0), words,
                                     lane, mask);
      }
    } else {
#pragma unroll
      for (int lane = 0; lane < 4; ++lane) {
        const std::int64_t i = first + lane;
        if (i < n) y[i] = masked<adds>(x[i], adds ? residual[i] : T(), mask.factor(words.word[lane]));
      }
    }
  }
}

}  // namespace

template <class T>
void dropout(T* y, const T* x, const T* residual, std::int64_t n, const DropoutMask& mask, Stream queue) {
  if (n == 0) return;
  const LaunchShape shape = {
      .blocks = std::min(blocks_for(blocks_for(n, 4), threads), most_blocks), .threads = threads, .stream = queue};
  constexpr std::size_t pack_bytes = std::min<std::size_t>(4 * sizeof(T), 16);
  const bool aligned = is_aligned(x, pack_bytes) && is_aligned(y, pack_bytes) && is_aligned(residual, pack_bytes);
  const ElementMask<Arithmetic<T>> element_mask(mask);
  if (residual) {
    aligned ? launch<blocks_kernel<true, true, T>>(shape, y, x, residual, n, element_mask)
            : launch<blocks_kernel<true, false, T>>(shape, y, x, residual, n, element_mask);
  } else {
    aligned ? launch<blocks_kernel<false, true, T>>(shape, y, x, residual, n, element_mask)
            : launch<blocks_kernel<false, false, T>>(shape, y, x, residual, n, element_mask);
  }
}

template <class T>
void dropout_naive(T* y, const T* x, const T* residual, std::int64_t n, const DropoutMask& mask, Stream queue) {
  if (n == 0) return;
  const LaunchShape shape = {.blocks = blocks_for(n, threads), .threads = threads, .stream = queue};
  const ElementMask<Arithmetic<T>> element_mask(mask);
  residual ? launch<naive_kernel<true, T>>(shape, y, x, residual, n, element_mask)
           : launch<naive_kernel<false, T>>(shape, y, x, residual, n, element_mask);
}

#define GRADUS_INSTANTIATE(T)                                                              \
  template void dropout(T*, const T*, const T*, std::int64_t, const DropoutMask&, Stream); \
  template void dropout_naive(T*, const T*, const T*, std::int64_t, const DropoutMask&, Stream);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::cuda
