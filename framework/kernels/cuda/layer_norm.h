// Layer normalisation, alone and of a residual stream that is added to, of the rows of x (rows, n), n > 0, as in
// framework/ops/layer_norm.cpp. Parameters, what is saved and their gradients are of type Arithmetic<T>. For double,
// float and bfloat16.
#pragma once

#include <cstdint>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/dropout.h"
#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// y = (x - mean) scale gain + bias with scale = 1 / sqrt(variance + epsilon): x, y (rows, n), gain, bias (n). For the
/// backward pass: mean, scale (rows).
template <class T>
void layer_norm_forward(const T* x, const Arithmetic<T>* gain, const Arithmetic<T>* bias, T* y, Arithmetic<T>* mean,
                        Arithmetic<T>* scale, std::int64_t rows, std::int64_t n, Arithmetic<T> epsilon, Stream stream);

/// sum = residual + dropped update, and y = the layer norm of the sum before it is rounded; all (rows, n).
template <class T>
void add_layer_norm_forward(const T* residual, const T* update, const DropoutMask& mask, const Arithmetic<T>* gain,
                            const Arithmetic<T>* bias, T* sum, T* y, Arithmetic<T>* mean, Arithmetic<T>* scale,
                            std::int64_t rows, std::int64_t n, Arithmetic<T> epsilon, Stream stream);

/// Elements of `partials` below.
std::int64_t layer_norm_partials(std::int64_t rows, std::int64_t n);

/// From the cotangent g (rows, n) of y: dx (rows, n), and dgain = sum over rows of g (x - mean)
/// scale, dbias = sum of g (n), zero for no rows. The rows are summed up by blocks in partials, and these in order: the
/// same bits for every launch, on every device.
template <class T>
void layer_norm_backward(const T* x, const Arithmetic<T>* gain, const T* g, const Arithmetic<T>* mean,
                         const Arithmetic<T>* scale, T* dx, Arithmetic<T>* dgain, Arithmetic<T>* dbias,
                         Arithmetic<T>* partials, std::int64_t rows, std::int64_t n, Stream stream);

/// From the cotangents of y and of the sum: dresidual, which is also the update's gradient where nothing is dropped,
/// and dupdate unless it is null. The rest as above.
template <class T>
void add_layer_norm_backward(const T* sum, const Arithmetic<T>* gain, const T* g, const T* g_sum,
                             const DropoutMask& mask, const Arithmetic<T>* mean, const Arithmetic<T>* scale,
                             T* dresidual, T* dupdate, Arithmetic<T>* dgain, Arithmetic<T>* dbias,
                             Arithmetic<T>* partials, std::int64_t rows, std::int64_t n, Stream stream);

/// The same by a thread for each row, and for each column: to read first, and to check the others by. The sum is
/// dropout_naive's.
template <class T>
void layer_norm_forward_naive(const T* x, const Arithmetic<T>* gain, const Arithmetic<T>* bias, T* y,
                              Arithmetic<T>* mean, Arithmetic<T>* scale, std::int64_t rows, std::int64_t n,
                              Arithmetic<T> epsilon, Stream stream);
template <class T>
void layer_norm_backward_naive(const T* x, const Arithmetic<T>* gain, const T* g, const Arithmetic<T>* mean,
                               const Arithmetic<T>* scale, T* dx, Arithmetic<T>* dgain, Arithmetic<T>* dbias,
                               std::int64_t rows, std::int64_t n, Stream stream);

template <class T>
void add_layer_norm_backward_naive(const T* sum, const Arithmetic<T>* gain, const T* g, const T* g_sum,
                                   const DropoutMask& mask, const Arithmetic<T>* mean, const Arithmetic<T>* scale,
                                   T* dresidual, T* dupdate, Arithmetic<T>* dgain, Arithmetic<T>* dbias,
                                   std::int64_t rows, std::int64_t n, Stream stream);

}  // namespace gradus::cuda
