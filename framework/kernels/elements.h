// What the tape, the engine and the modules do with the elements of tensors beside calling ops, on the tensors' device.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "framework/tensor/tensor.h"

namespace gradus {

/// Of one kind of device. All tensors of a call are on the same one.
struct ElementKernels {
  /// to[i] = from[i]; `from` broadcasts to the shape of `to`, and is converted to its dtype.
  std::function<void(const Tensor& to, const Tensor& from)> copy;
  std::function<void(const Tensor& to, double value)> fill;
  /// out[i] = a[i] + b[i]: one shape, one floating dtype; `out` may be one of the two.
  std::function<void(const Tensor& out, const Tensor& a, const Tensor& b)> add;
  /// The sum over the axes marked in `reduced`, which keep size 1, as a tensor of dtype `dtype`: that of the tensor, or
  /// f32 for bf16. Sums of bf16 are f32 until then.
  std::function<Tensor(const Tensor& tensor, const std::vector<bool>& reduced, DType dtype)> sum;
  std::function<bool(const Tensor& tensor)> all_finite;
  /// The first position, row-major, of an index that is not in 0..size-1 and not `except`; -1: there is none.
  std::function<std::int64_t(const Tensor& index, std::int64_t size, std::optional<std::int64_t> except)> first_outside;
};

/// The CPU's are there from the start.
void install_element_kernels(Device::Kind kind, ElementKernels kernels);

namespace elements {

/// As ElementKernels::copy; `from` may be on another device.
void copy(const Tensor& to, const Tensor& from);
void fill(const Tensor& to, double value);
void add(const Tensor& out, const Tensor& a, const Tensor& b);
Tensor sum(const Tensor& tensor, const std::vector<bool>& reduced);
/// Sums over stretched and missing axes until the shape is `shape`: the inverse of broadcasting.
Tensor sum_to_shape(const Tensor& tensor, const Shape& shape);
Tensor sum_to_shape(const Tensor& tensor, const Shape& shape, DType dtype);
/// No NaN and no infinity among the elements; true for integer tensors.
bool all_finite(const Tensor& tensor);
std::int64_t first_outside(const Tensor& index, std::int64_t size, std::optional<std::int64_t> except = {});

/// A packed copy, always.
Tensor clone(const Tensor& tensor);
/// The tensor itself where it is contiguous and of this dtype, else a packed copy.
Tensor contiguous(const Tensor& tensor);
Tensor contiguous(const Tensor& tensor, DType dtype);

}  // namespace elements
}  // namespace gradus
