// Copies from global to shared memory that go on while the thread computes (cp.async). A thread sees its own copies
// after wait_for_copies(), other threads after a barrier that follows it. In the emulation nothing arrives before it is
// waited for.
#pragma once

#include "framework/kernels/cuda/kernel.h"

#if defined(__CUDACC__)
#include <cuda_pipeline_primitives.h>
#else
#include "framework/kernels/cuda/emulation/copies.h"
#endif

namespace gradus::cuda {

/// Asks for a copy of `bytes` = 4, 8 or 16, to which both addresses are aligned.
template <std::size_t bytes>
__device__ __forceinline__ void copy_asynchronously(void* to_shared, const void* from_global) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
#if defined(__CUDACC__)
  __pipeline_memcpy_async(to_shared, from_global, bytes);
#else
  emulation::ask_for_copy(to_shared, from_global, bytes);
#endif
}

/// Makes one batch of the copies asked for since the last.
__device__ __forceinline__ void commit_copies() {
#if defined(__CUDACC__)
  __pipeline_commit();
#else
  emulation::commit_copies();
#endif
}

/// Waits for all batches but the last `batches_under_way`.
template <int batches_under_way>
__device__ __forceinline__ void wait_for_copies() {
#if defined(__CUDACC__)
  __pipeline_wait_prior(batches_under_way);
#else
  emulation::wait_for_copies(batches_under_way);
#endif
}

}  // namespace gradus::cuda
