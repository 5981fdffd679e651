// Ops that look at the same elements in another shape. All but a reshape of a non-contiguous tensor share storage.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// The same tensor under a new handle and a place of its own in the tape.
Tensor identity(const Tensor& x, SourceLocation where = SourceLocation::current());
/// The same elements in row-major order; one size may be -1. Copies only where the strides force it.
Tensor reshape(const Tensor& x, const Shape& shape, SourceLocation where = SourceLocation::current());
/// Axis i of the result is axis axes[i] of x.
Tensor permute(const Tensor& x, const std::vector<std::int64_t>& axes, SourceLocation where = SourceLocation::current());
/// Swaps two axes.
Tensor transpose(const Tensor& x, std::int64_t axis0 = -2, std::int64_t axis1 = -1,
                 SourceLocation where = SourceLocation::current());
/// Stretches axes of size 1, and missing leading axes, to `shape`.
Tensor broadcast_to(const Tensor& x, const Shape& shape, SourceLocation where = SourceLocation::current());

const OpSpec& identity_op();
const OpSpec& reshape_op();
const OpSpec& permute_op();
const OpSpec& broadcast_to_op();

}  // namespace gradus
