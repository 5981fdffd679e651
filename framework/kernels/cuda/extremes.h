// The largest element along axes of a strided tensor, and where it is.
#pragma once

#include "framework/kernels/cuda/reduce.h"

namespace gradus::cuda {

/// indices: of the first largest element, in row-major order of the reduced axes; the first NaN beats all. values: that
/// element, or null. Reduced axes of no elements have no largest one: not to be asked for. T is double, float or
/// bfloat16; the workspace is as for the functions of reduce.h.
template <class T>
void largest(T* values, std::int64_t* indices, const T* x, const ReducedAxes& axes, void* workspace, Stream stream);
template <class T>
std::size_t largest_workspace_bytes(const ReducedAxes& axes);

}  // namespace gradus::cuda
