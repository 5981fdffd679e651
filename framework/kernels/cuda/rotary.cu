#include "framework/kernels/cuda/rotary.h"

#include <algorithm>

#include "framework/kernels/cuda/kernel.h"
#include "framework/kernels/cuda/pack.h"

namespace gradus::cuda {
namespace {

constexpr int threads = 256;
constexpr std::int64_t most_blocks = 2048;  // fills the largest devices; the rest is done in strides of the grid

template <class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(threads)
    naive_kernel(const T* x, const A* cosines, const A* sines, T* y, std::int64_t elements, std::int64_t positions,
                 std::int64_t heads, std::int64_t pairs, A sign) {
  const std::int64_t element = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (element >= elements) return;
  const std::int64_t row = element / (2 * pairs), feature = element % (2 * pairs);
  const std::int64_t angle = row / heads % positions * pairs + feature / 2;
  const A c = cosines[angle], s = sign * sines[angle];
  y[element] = feature % 2 == 0 ? T(A(x[element]) * c - A(x[element + 1]) * s)
                                : T(A(x[element - 1]) * s + A(x[element]) * c);
}

/// A pair by each thread, read and written at once where both are `aligned`.
template <bool aligned, class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(threads)
    pairs_kernel(const T* x, const A* cosines, const A* sines, T* y, std::int64_t all_pairs, std::int64_t positions,
                 std::int64_t heads, std::int64_t pairs, A sign) {
  constexpr int count = aligned ? 2 : 1;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < all_pairs; i += stride) {
    const std::int64_t angle = i / pairs / heads % positions * pairs + i % pairs;
    const A c = cosines[angle], s = sign * sines[angle];
    Pack<T, count> first = load_pack<count>(x + 2 * i), second = first;
    if constexpr (!aligned) second = load_pack<count>(x + 2 * i + 1);
    const A a(first[0]), b(second[count - 1]);
    first[0] = T(a * c - b * s);
    if constexpr (aligned) first[1] = T(a * s + b * c);
    store_pack(y + 2 * i, first);
    if constexpr (!aligned) y[2 * i + 1] = T(a * s + b * c);
  }
}

}  // namespace

template <class T>
void rotary(const T* x, const Arithmetic<T>* cosines, const Arithmetic<T>* sines, T* y, std::int64_t rows,
            std::int64_t positions, std::int64_t heads, std::int64_t pairs, bool back, Stream stream) {
  if (rows * pairs == 0) return;
  const Arithmetic<T> sign(back ? -1 : 1);
  const LaunchShape shape = {
      .blocks = std::min(blocks_for(rows * pairs, threads), most_blocks), .threads = threads, .stream = stream};
  if (is_aligned(x, 2 * sizeof(T)) && is_aligned(y, 2 * sizeof(T))) {
    launch<pairs_kernel<true, T>>(shape, x, cosines, sines, y, rows * pairs, positions, heads, pairs, sign);
  } else {
    launch<pairs_kernel<false, T>>(shape, x, cosines, sines, y, rows * pairs, positions, heads, pairs, sign);
  }
}

template <class T>
void rotary_naive(const T* x, const Arithmetic<T>* cosines, const Arithmetic<T>* sines, T* y, std::int64_t rows,
                  std::int64_t positions, std::int64_t heads, std::int64_t pairs, bool back, Stream stream) {
  const std::int64_t elements = 2 * rows * pairs;
  if (elements == 0) return;
  launch<naive_kernel<T>>({.blocks = blocks_for(elements, threads), .threads = threads, .stream = stream}, x, cosines,
                          sines, y, elements, positions, heads, pairs, Arithmetic<T>(back ? -1 : 1));
}

#define GRADUS_INSTANTIATE(T, A)                                                                               \
  template void rotary(const T*, const A*, const A*, T*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, \
                       bool, Stream);                                                                          \
  template void rotary_naive(const T*, const A*, const A*, T*, std::int64_t, std::int64_t, std::int64_t,       \
                             std::int64_t, bool, Stream);
GRADUS_INSTANTIATE(double, double)
GRADUS_INSTANTIATE(float, float)
GRADUS_INSTANTIATE(bfloat16, float)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::cuda
