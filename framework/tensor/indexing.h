// Walking over strided elements in row-major order, one element at a time. For reading out, printing and references;
// kernels use framework/kernels/loop_nest.h.
#pragma once

#include <array>

#include "framework/base/shape.h"

namespace gradus {

/// Calls `visit(offset)` for each element, offset counted in elements from the first.
template <class Visit>
void for_each_offset(const Shape& shape, const Shape& strides, Visit&& visit) {
  const std::int64_t count = shape.numel();
  std::array<std::int64_t, max_rank> index{};
  std::int64_t offset = 0;
  for (std::int64_t visited = 0; visited < count; ++visited) {
    visit(offset);
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      offset += strides[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

}  // namespace gradus
