// From tensors to the arguments of CUDA kernels.
#pragma once

#include <vector>

#include "framework/kernels/cuda/elementwise.h"
#include "framework/kernels/loop_nest.h"

namespace gradus::cuda {

/// The stream on which all kernels of ops run, one after another.
Stream compute_stream();

/// In a step that is recorded: where on the device what random ops add to the numbers of their streams is. Else null.
const std::uint64_t* stream_offset();

inline Space space_of(const LoopNest& nest) {
  Space space{.axes = nest.shape.rank(), .elements = nest.shape.numel()};
  for (int axis = 0; axis < space.axes; ++axis) space.sizes[axis] = nest.shape[axis];
  return space;
}

template <class T>
Strided<T> strided(void* data, const Shape& strides) {
  Strided<T> operand{static_cast<T*>(data)};
  for (int axis = 0; axis < strides.rank(); ++axis) operand.strides[axis] = strides[axis];
  return operand;
}

/// The nest of an output and of inputs that broadcast to it: operand 0 is the output.
inline LoopNest nest_of(const Tensor& out, const std::vector<Tensor>& inputs) {
  std::vector<Shape> strides{out.strides()};
  for (const Tensor& input : inputs) {
    if (input.device() != out.device())
      fail("a kernel of {} reads a tensor {}", to_string(out.device()), input.describe());
    strides.push_back(broadcast_strides(input, out.shape()));
  }
  return LoopNest(out.shape(), strides);
}

}  // namespace gradus::cuda
