// Dropout on a device, alone and of what is added to a residual stream: the mask is a function of (seed, stream,
// element number), so it is never stored, backward is the same function of the cotangent, and the CPU drops the same
// elements.
#pragma once

#include <cstdint>

#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// Drops element i where Philox word i of the stream is below the threshold of `probability`, in [0, 1), and divides
/// the others by 1 - probability.
struct DropoutMask {
  double probability = 0;
  std::uint64_t seed = 0, stream = 0;
  const std::uint64_t* stream_offset = nullptr;  ///< on the device: added to the stream, unless null
};

/// y[i] = x[i] / (1 - probability), or x[i] times 0 where it is dropped; with a residual, not null, residual[i] plus
/// that. y may be the memory of x or of the residual. T: double, float, bfloat16.
template <class T>
void dropout(T* y, const T* x, const T* residual, std::int64_t n, const DropoutMask& mask, Stream queue);

/// The same, an element by each thread: what dropout() is tested with.
template <class T>
void dropout_naive(T* y, const T* x, const T* residual, std::int64_t n, const DropoutMask& mask, Stream queue);

}  // namespace gradus::cuda
