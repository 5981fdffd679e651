// How element-wise loops go through strided, broadcast tensors, on every device.
#pragma once

#include <vector>

#include "framework/tensor/tensor.h"

namespace gradus {

/// Strides that make `tensor` look like `shape`: 0 along stretched axes. The shapes must be broadcastable.
Shape broadcast_strides(const Tensor& tensor, const Shape& shape);

/// An iteration space in which neighbouring axes are merged wherever the strides of all operands allow it.
struct LoopNest {
  Shape shape;                 ///< at least one axis
  std::vector<Shape> strides;  ///< of each operand, the output first

  LoopNest(const Shape& full_shape, const std::vector<Shape>& full_strides);
};

}  // namespace gradus
