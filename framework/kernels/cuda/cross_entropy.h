// Cross-entropy of logits (rows, classes) and target classes (rows), as in framework/ops/cross_entropy.cpp. Targets are
// `ignored` or in 0..classes-1: who calls has checked it. For double, float and bfloat16.
#pragma once

#include <cstdint>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// Elements of `partials` below.
std::int64_t cross_entropy_partials(std::int64_t rows);

/// loss (1) = the mean over counted rows of log_sum - logit of the target; NaN if no row counts. For the backward pass:
/// log_sums (rows) = ln sum e^logit, 0 in ignored rows, and counted (1). Blocks sum their rows up in f64 in partials,
/// and these are added in order: the same bits for every launch, on every device.
template <class T>
void cross_entropy_forward(const T* logits, const std::int64_t* targets, std::int64_t ignored, Arithmetic<T>* loss,
                           Arithmetic<T>* log_sums, std::int64_t* counted, double* partials, std::int64_t rows,
                           std::int64_t classes, Stream stream);

/// From the cotangent g (1) of the loss: gradient (rows, classes), which may be `logits` itself, = g / counted
/// (e^(logit - log_sum) - 1 at the target), and 0 in ignored rows.
template <class T>
void cross_entropy_backward(const T* logits, const std::int64_t* targets, std::int64_t ignored,
                            const Arithmetic<T>* log_sums, const std::int64_t* counted, const Arithmetic<T>* g,
                            T* gradient, std::int64_t rows, std::int64_t classes, Stream stream);

/// The same by a thread for each row, and one that adds them up: to read first, and to check the others by.
template <class T>
void cross_entropy_forward_naive(const T* logits, const std::int64_t* targets, std::int64_t ignored,
                                 Arithmetic<T>* loss, Arithmetic<T>* log_sums, std::int64_t* counted, std::int64_t rows,
                                 std::int64_t classes, Stream stream);
template <class T>
void cross_entropy_backward_naive(const T* logits, const std::int64_t* targets, std::int64_t ignored,
                                  const Arithmetic<T>* log_sums, const std::int64_t* counted, const Arithmetic<T>* g,
                                  T* gradient, std::int64_t rows, std::int64_t classes, Stream stream);

}  // namespace gradus::cuda
