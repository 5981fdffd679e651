// Rotary position embedding, as in framework/ops/rotary.cpp.
#pragma once

#include <cstdint>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// Turns pair i of row r of x (rows, 2 pairs) by the angle of position r / heads % positions and i, back for `back`:
/// cosines, sines (positions, pairs). y may be the memory of x. T: double, float, bfloat16.
template <class T>
void rotary(const T* x, const Arithmetic<T>* cosines, const Arithmetic<T>* sines, T* y, std::int64_t rows,
            std::int64_t positions, std::int64_t heads, std::int64_t pairs, bool back, Stream stream);

/// The same, an element of y by each thread: to read first, and to check the other by. Not in place.
template <class T>
void rotary_naive(const T* x, const Arithmetic<T>* cosines, const Arithmetic<T>* sines, T* y, std::int64_t rows,
                  std::int64_t positions, std::int64_t heads, std::int64_t pairs, bool back, Stream stream);

}  // namespace gradus::cuda
