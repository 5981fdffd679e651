// Softmax, or its logarithm, over the rows of x (rows, n), as in framework/ops/softmax.cpp: a row with a NaN or +inf,
// or of -inf alone, becomes NaN. For double, float and bfloat16. Results may take the place of arguments.
#pragma once

#include <cstdint>

#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// y = e^(x - m) / s with m the largest x of the row and s the sum of e^(x - m); its logarithm y = (x - m) - ln s. x, y
/// (rows, n).
template <class T>
void softmax_forward(const T* x, T* y, std::int64_t rows, std::int64_t n, bool logarithm, Stream stream);

/// From y and its cotangent g: dx = y (g - sum of g y), or for the logarithm dx = g - e^y sum of g. All (rows, n).
template <class T>
void softmax_backward(const T* y, const T* g, T* dx, std::int64_t rows, std::int64_t n, bool logarithm, Stream stream);

/// The same by a thread for each row: to read first, and to check the others by.
template <class T>
void softmax_forward_naive(const T* x, T* y, std::int64_t rows, std::int64_t n, bool logarithm, Stream stream);
template <class T>
void softmax_backward_naive(const T* y, const T* g, T* dx, std::int64_t rows, std::int64_t n, bool logarithm,
                            Stream stream);

}  // namespace gradus::cuda
