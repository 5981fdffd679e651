// The one loop of the element-wise kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "framework/kernels/cuda/elementwise.h"
#include "framework/kernels/cuda/kernel.h"

namespace gradus::cuda {
namespace {

constexpr int map_threads = 256;
constexpr std::int64_t map_most_blocks = 8192;  // beyond it threads take several elements

/// A space, and the strides of what is walked in it.
template <int operands>
struct Walk {
  Space space;
  std::int64_t strides[operands][Space::most_axes];

  /// Of the element with row-major number `index`, in each operand.
  __device__ __forceinline__ void find(std::int64_t index, std::int64_t (&offsets)[operands]) const {
    for (std::int64_t& offset : offsets) offset = 0;
    for (int axis = space.axes - 1; axis > 0; --axis) {
      const std::int64_t outer = index / space.sizes[axis], coordinate = index - outer * space.sizes[axis];
      add(coordinate, axis, offsets);
      index = outer;
    }
    add(index, 0, offsets);
  }

 private:
  __device__ __forceinline__ void add(std::int64_t coordinate, int axis, std::int64_t (&offsets)[operands]) const {
#pragma unroll
    for (int i = 0; i < operands; ++i) offsets[i] += coordinate * strides[i][axis];
  }
};

/// Thread i takes elements i, i + threads of the grid, ...
template <class F, class Out, class... In>
__global__ void __launch_bounds__(map_threads)
    map_kernel(F f, const __grid_constant__ Walk<1 + sizeof...(In)> walk, Out* out, const In*... in) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < walk.space.elements; i += step) {
    std::int64_t offsets[1 + sizeof...(In)];
    walk.find(i, offsets);
    [&]<std::size_t... k>(std::index_sequence<k...>) {
      out[offsets[0]] = f(in[offsets[1 + k]]...);
    }(std::index_sequence_for<In...>());
  }
}

template <class F, class Out, class... In>
void map(const F& f, const Space& space, Stream stream, const Strided<Out>& out, const Strided<const In>&... in) {
  if (space.elements == 0) return;
  Walk<1 + sizeof...(In)> walk{space, {}};
  int operand = 0;
  for (const std::int64_t* strides : {out.strides + 0, in.strides + 0 ...}) {
    std::copy_n(strides, Space::most_axes, walk.strides[operand++]);
  }
  const std::int64_t threads = space.elements < map_threads ? blocks_for(space.elements, 32) * 32 : map_threads;
  const std::int64_t blocks = std::min(blocks_for(space.elements, threads), map_most_blocks);
  launch<map_kernel<F, Out, In...>>({.blocks = blocks, .threads = threads, .stream = stream}, f, walk, out.data, in.data...);
}

}  // namespace
}  // namespace gradus::cuda
