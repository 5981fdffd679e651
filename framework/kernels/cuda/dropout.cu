#include "framework/kernels/cuda/dropout.h"

#include <algorithm>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/kernel.h"
#include "framework/random/philox.h"

namespace gradus::cuda {
namespace {

constexpr int threads = 256;
constexpr std::int64_t most_blocks = 2048;  // fills the largest devices; the rest is done in strides of the grid

/// A call's random words, and what they do to an element.
template <class A>
struct Mask {
  std::uint64_t seed, first_stream;
  const std::uint64_t* stream_offset;
  std::uint32_t threshold;
  A keep_scale;

  __device__ __forceinline__ std::uint64_t stream() const {
    return stream_offset ? first_stream + *stream_offset : first_stream;
  }

  template <class T>
  __device__ __forceinline__ T apply(T x, std::uint32_t word) const {
    return T(A(x) * (random::below(word, threshold) ? A(0) : keep_scale));
  }
};

template <class T>
__global__ void __launch_bounds__(threads) naive_kernel(T* y, const T* x, std::int64_t n, Mask<Arithmetic<T>> mask) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = mask.apply(x[i], random::philox_word(mask.seed, mask.stream(), i));
}

/// Four neighbours, for which one Philox block has the words, as they lie in memory.
template <class T>
struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) Four {
  T x[4];
};
struct alignas(8) FourHalves {
  std::uint16_t x[4];
};

template <class T>
__device__ __forceinline__ void drop_four(T* y, const T* x, const random::Philox4& words,
                                          const Mask<Arithmetic<T>>& mask) {
  Four<T> four = *reinterpret_cast<const Four<T>*>(x);
#pragma unroll
  for (int lane = 0; lane < 4; ++lane) four.x[lane] = mask.apply(four.x[lane], words.word[lane]);
  *reinterpret_cast<Four<T>*>(y) = four;
}
__device__ __forceinline__ void drop_four(bfloat16* y, const bfloat16* x, const random::Philox4& words,
                                          const Mask<float>& mask) {
  FourHalves four = *reinterpret_cast<const FourHalves*>(x);
#pragma unroll
  for (int lane = 0; lane < 4; ++lane) {
    bfloat16 element;
    element.bits = four.x[lane];
    four.x[lane] = mask.apply(element, words.word[lane]).bits;
  }
  *reinterpret_cast<FourHalves*>(y) = four;
}

/// A Philox block by each thread. `aligned`: x and y can be read and written in fours.
template <class T, bool aligned>
__global__ void __launch_bounds__(threads) blocks_kernel(T* y, const T* x, std::int64_t n, Mask<Arithmetic<T>> mask) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  const std::uint64_t stream = mask.stream();
  for (std::int64_t four = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; 4 * four < n; four += stride) {
    const random::Philox4 words = random::philox_block(mask.seed, stream, four);
    if (aligned && 4 * four + 4 <= n) {
      drop_four(y + 4 * four, x + 4 * four, words, mask);
    } else {
#pragma unroll
      for (int lane = 0; lane < 4; ++lane) {
        const std::int64_t i = 4 * four + lane;
        if (i < n) y[i] = mask.apply(x[i], words.word[lane]);
      }
    }
  }
}

template <class A>
Mask<A> mask_of(double probability, std::uint64_t seed, std::uint64_t stream, const std::uint64_t* stream_offset) {
  return {seed, stream, stream_offset, random::dropout_threshold(probability), A(1 / (1 - probability))};
}

template <class T>
bool in_fours(const T* address) {
  return reinterpret_cast<std::uintptr_t>(address) % alignof(Four<T>) == 0;
}

}  // namespace

template <class T>
void dropout(T* y, const T* x, std::int64_t n, double probability, std::uint64_t seed, std::uint64_t stream,
             const std::uint64_t* stream_offset, Stream queue) {
  if (n == 0) return;
  const auto mask = mask_of<Arithmetic<T>>(probability, seed, stream, stream_offset);
  const LaunchShape shape = {
      .blocks = std::min(blocks_for(blocks_for(n, 4), threads), most_blocks), .threads = threads, .stream = queue};
  if (in_fours(x) && in_fours(y)) {
    launch<blocks_kernel<T, true>>(shape, y, x, n, mask);
  } else {
    launch<blocks_kernel<T, false>>(shape, y, x, n, mask);
  }
}

template <class T>
void dropout_naive(T* y, const T* x, std::int64_t n, double probability, std::uint64_t seed, std::uint64_t stream,
                   const std::uint64_t* stream_offset, Stream queue) {
  if (n == 0) return;
  launch<naive_kernel<T>>({.blocks = blocks_for(n, threads), .threads = threads, .stream = queue}, y, x, n,
                          mask_of<Arithmetic<T>>(probability, seed, stream, stream_offset));
}

#define GRADUS_INSTANTIATE(T)                                                                                         \
  template void dropout(T*, const T*, std::int64_t, double, std::uint64_t, std::uint64_t, const std::uint64_t*,       \
                        Stream);                                                                                      \
  template void dropout_naive(T*, const T*, std::int64_t, double, std::uint64_t, std::uint64_t, const std::uint64_t*, \
                              Stream);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::cuda
