// Reductions over any axes of a strided tensor. Results lie one after another, in the order of the axes that stay. The
// order of a sum depends on shape and strides alone: the same bits in every run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "framework/base/bfloat16.h"
#include "framework/base/shape.h"
#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// Which axes of a tensor go. Strides in elements, of any sign, or 0.
struct ReducedAxes {
  Shape shape, strides;
  std::vector<bool> reduced;
};

// The functions below take a workspace on the device, of as many bytes as the function of that name says (null for 0).
// T is double, float or bfloat16, for sums also int64_t.

/// y = sum of x, in Arithmetic<T>; Out is T, or float for sums of bf16 that are not rounded again.
template <class T, class Out = T>
void sum(Out* y, const T* x, const ReducedAxes& axes, void* workspace, Stream stream);
template <class T>
std::size_t sum_workspace_bytes(const ReducedAxes& axes);

/// y = sum / count, NaN for a count of 0; a workspace as for sum().
template <class T, class Out = T>
void mean(Out* y, const T* x, const ReducedAxes& axes, void* workspace, Stream stream);

/// y = (sum of (x - mean)^2) / max(0, count - correction), in double until y.
template <class T>
void variance(T* y, const T* x, const ReducedAxes& axes, double correction, void* workspace, Stream stream);
std::size_t variance_workspace_bytes(const ReducedAxes& axes);

/// The same sum in the plainest way, a thread for each result: what sum() is measured and tested against.
template <class T, class Out = T>
void sum_naive(Out* y, const T* x, const ReducedAxes& axes, Stream stream);

/// Sets *found to 1 where a NaN or an infinity is among x (count), and else leaves it.
template <class T>
void find_not_finite(std::int32_t* found, const T* x, std::int64_t count, Stream stream);

}  // namespace gradus::cuda
