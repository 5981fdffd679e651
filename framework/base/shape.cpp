#include "framework/base/shape.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "framework/base/error.h"

namespace gradus {

Shape::Shape(std::span<const std::int64_t> sizes) {
  for (std::int64_t size : sizes) push_back(size);
}

Shape Shape::filled(int rank, std::int64_t value) {
  Shape shape;
  for (int axis = 0; axis < rank; ++axis) shape.push_back(value);
  return shape;
}

void Shape::push_back(std::int64_t size) {
  if (rank_ == max_rank) fail("a tensor has at most {} axes", max_rank);
  sizes_[rank_++] = size;
}

std::int64_t Shape::numel() const {
  std::int64_t product = 1;
  bool overflow = false;
  for (std::int64_t size : *this) {
    if (size == 0) return 0;
    overflow |= __builtin_mul_overflow(product, size, &product);
  }
  if (overflow) fail("shape {} has more elements than 63 bits can count", to_string(*this));
  return product;
}

bool Shape::operator==(const Shape& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

std::string to_string(const Shape& shape) { return fmt::format("({})", fmt::join(shape.begin(), shape.end(), ",")); }

Shape contiguous_strides(const Shape& shape) {
  Shape strides = Shape::filled(shape.rank(), 1);
  for (int axis = shape.rank() - 2; axis >= 0; --axis) {
    strides[axis] = strides[axis + 1] * std::max<std::int64_t>(shape[axis + 1], 1);
  }
  return strides;
}

int normalize_axis(std::int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) fail("axis {} is outside a tensor of {} axes", axis, rank);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

bool broadcast_shapes(const Shape& a, const Shape& b, Shape& result) {
  const int rank = std::max(a.rank(), b.rank());
  Shape broadcast = Shape::filled(rank, 1);
  for (int axis = 0; axis < rank; ++axis) {
    const int in_a = axis - (rank - a.rank()), in_b = axis - (rank - b.rank());
    const std::int64_t size_a = in_a < 0 ? 1 : a[in_a], size_b = in_b < 0 ? 1 : b[in_b];
    if (size_a != size_b && size_a != 1 && size_b != 1) return false;
    broadcast[axis] = size_a == 1 ? size_b : size_a;
  }
  result = broadcast;
  return true;
}

}  // namespace gradus
