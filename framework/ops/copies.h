// Copies of all elements, in the same dtype or another.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// A packed copy.
Tensor clone(const Tensor& x, SourceLocation where = SourceLocation::current());
/// Converts the dtype. Differentiable between floating dtypes.
Tensor cast(const Tensor& x, DType dtype, SourceLocation where = SourceLocation::current());

const OpSpec& clone_op();
const OpSpec& cast_op();

}  // namespace gradus
