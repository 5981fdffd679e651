#include "framework/kernels/loop_nest.h"

namespace gradus {

Shape broadcast_strides(const Tensor& tensor, const Shape& shape) {
  Shape strides = Shape::filled(shape.rank(), 0);
  const int missing = shape.rank() - tensor.rank();
  for (int axis = missing; axis < shape.rank(); ++axis) {
    strides[axis] = tensor.shape()[axis - missing] == 1 ? 0 : tensor.strides()[axis - missing];
  }
  return strides;
}

LoopNest::LoopNest(const Shape& full_shape, const std::vector<Shape>& full_strides) : strides(full_strides.size()) {
  for (int axis = 0; axis < full_shape.rank(); ++axis) {
    if (full_shape[axis] == 1) continue;
    bool merges = shape.rank() > 0;
    for (std::size_t k = 0; merges && k < strides.size(); ++k) {
      merges = strides[k].back() == full_strides[k][axis] * full_shape[axis];
    }
    if (merges) {
      const int last = shape.rank() - 1;
      shape[last] *= full_shape[axis];
      for (std::size_t k = 0; k < strides.size(); ++k) strides[k][last] = full_strides[k][axis];
    } else {
      shape.push_back(full_shape[axis]);
      for (std::size_t k = 0; k < strides.size(); ++k) strides[k].push_back(full_strides[k][axis]);
    }
  }
  if (shape.rank() == 0) {
    shape.push_back(1);
    for (Shape& operand : strides) operand.push_back(1);
  }
}

}  // namespace gradus
