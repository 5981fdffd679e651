// Shapes and strides: at most eight 64-bit sizes, held inline.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace gradus {

inline constexpr int max_rank = 8;

/// A short list of 64-bit integers, used for shapes (sizes >= 0) and strides (in elements, may be 0 or negative).
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes)
      : Shape(std::span<const std::int64_t>(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const std::int64_t> sizes);
  explicit Shape(const std::vector<std::int64_t>& sizes) : Shape(std::span<const std::int64_t>(sizes)) {}
  static Shape filled(int rank, std::int64_t value);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return sizes_[axis]; }
  std::int64_t& operator[](int axis) { return sizes_[axis]; }
  const std::int64_t* begin() const { return sizes_.data(); }
  const std::int64_t* end() const { return sizes_.data() + rank_; }
  std::int64_t back() const { return sizes_[rank_ - 1]; }
  void push_back(std::int64_t size);
  std::vector<std::int64_t> to_vector() const { return {begin(), end()}; }

  /// Product of the sizes; 1 for rank 0. Throws ContractError where the product exceeds 63 bits.
  std::int64_t numel() const;
  bool operator==(const Shape& other) const;

 private:
  std::array<std::int64_t, max_rank> sizes_{};
  int rank_ = 0;
};

/// `(3,4)`; a scalar is `()`.
std::string to_string(const Shape& shape);

/// Row-major strides in elements.
Shape contiguous_strides(const Shape& shape);

/// Maps -rank..rank-1 to 0..rank-1; throws ContractError naming axis and rank otherwise.
int normalize_axis(std::int64_t axis, int rank);

/// NumPy broadcasting: aligned at the right, size 1 stretches. Returns false where the shapes do not fit.
bool broadcast_shapes(const Shape& a, const Shape& b, Shape& result);

}  // namespace gradus
