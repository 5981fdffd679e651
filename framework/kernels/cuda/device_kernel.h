// kernel.h as nvcc sees it.
#pragma once

#include <cuda_runtime.h>

#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// The block's dynamic shared memory. One untyped symbol, so that templates may use it with several types.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char gradus_dynamic_shared[];
  return reinterpret_cast<T*>(gradus_dynamic_shared);
}

/// An array shared by the threads of a block, not initialised; `Name` tells arrays of one type apart.
template <class Array, class Name>
__device__ __forceinline__ Array& shared_array() {
  __shared__ __align__(16) unsigned char bytes[sizeof(Array)];
  return reinterpret_cast<Array&>(bytes);
}

namespace detail {

template <auto Kernel, class... Parameters, class... Arguments>
void launch_converted(void (*)(Parameters...), const LaunchShape& shape, Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "wrong number of arguments for this kernel");
  const dim3 blocks(shape.blocks.x, shape.blocks.y, shape.blocks.z);
  const dim3 threads(shape.threads.x, shape.threads.y, shape.threads.z);
  Kernel<<<blocks, threads, shape.shared_bytes, shape.stream>>>(static_cast<Parameters>(arguments)...);
}

}  // namespace detail

/// Queues the kernel on the stream of `shape`. Throws ContractError if no device could start it.
template <auto Kernel, class... Arguments>
void launch(const LaunchShape& shape, Arguments... arguments) {
  check_launch(__PRETTY_FUNCTION__, shape);
  allow_shared_bytes(reinterpret_cast<const void*>(Kernel), shape.shared_bytes);
  detail::launch_converted<Kernel>(Kernel, shape, arguments...);
  check_launched(__PRETTY_FUNCTION__, shape);
}

}  // namespace gradus::cuda
