// Dropout on a device: the mask is a function of (seed, stream, element number), so it is never stored, backward is the
// same function of the cotangent, and the CPU drops the same elements.
#pragma once

#include <cstdint>

#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// y[i] = x[i] / (1 - probability), or x[i] times 0 where Philox word i of the stream is below the threshold of
/// `probability`, in [0, 1). x and y may be the same memory. `stream_offset`, on the device, is added to the stream
/// unless it is null. T: double, float, bfloat16.
template <class T>
void dropout(T* y, const T* x, std::int64_t n, double probability, std::uint64_t seed, std::uint64_t stream,
             const std::uint64_t* stream_offset, Stream queue);

/// The same, an element by each thread: what dropout() is tested with.
template <class T>
void dropout_naive(T* y, const T* x, std::int64_t n, double probability, std::uint64_t seed, std::uint64_t stream,
                   const std::uint64_t* stream_offset, Stream queue);

}  // namespace gradus::cuda
