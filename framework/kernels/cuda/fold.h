// What the threads of a warp or of a block hold, folded into one value. The order is fixed: the same bits in every run.
// For kernel files.
#pragma once

#include "framework/kernels/cuda/kernel.h"

namespace gradus::cuda {

inline constexpr unsigned all_lanes = 0xffffffffu;

/// What the lane whose number differs in the bits of `distance` holds. Structs have overloads of their own.
template <class T>
__device__ __forceinline__ T from_opposite_lane(T value, int distance) {
  return __shfl_xor_sync(all_lanes, value, distance);
}

/// In every lane, the fold over its group of `width` neighbours, a power of two up to 32. Every lane of the warp calls;
/// combine(a, b) is combine(b, a), so that a group agrees on the bits.
template <class T, class Combine>
__device__ __forceinline__ T fold_lanes(T value, int width, const Combine& combine) {
  for (int distance = width / 2; distance > 0; distance /= 2) {
    value = combine(value, from_opposite_lane(value, distance));
  }
  return value;
}

/// In every thread, the fold over the block. Blocks of whole warps; every thread calls. `empty` changes nothing that it
/// is combined with.
template <class T, class Combine>
__device__ __forceinline__ T fold_block(T value, T empty, const Combine& combine) {
  auto& of_warps = shared_array<T[32], struct folds_of_warps>();
  const unsigned lane = threadIdx.x % 32;
  value = fold_lanes(value, 32, combine);
  if (lane == 0) of_warps[threadIdx.x / 32] = value;
  __syncthreads();
  value = fold_lanes(lane < blockDim.x / 32 ? of_warps[lane] : empty, 32, combine);
  __syncthreads();  // the next call may write
  return value;
}

struct Plus {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  return fold_lanes(value, 32, Plus{});
}

template <class T>
__device__ __forceinline__ T block_sum(T value) {
  return fold_block(value, T(0), Plus{});
}

}  // namespace gradus::cuda
