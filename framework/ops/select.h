// Comparisons and choices between elements, with broadcasting.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// Element-wise comparisons of two tensors of one dtype; give booleans.
Tensor equal(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
Tensor less(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
Tensor greater(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
Tensor not_equal(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
Tensor less_equal(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
Tensor greater_equal(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());

/// a where the condition (bool) holds, else b. All three broadcast.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
/// `value` where the mask (bool, broadcast to x) holds, else x.
Tensor masked_fill(const Tensor& x, const Tensor& mask, double value, SourceLocation where = SourceLocation::current());

const OpSpec& equal_op();
const OpSpec& less_op();
const OpSpec& greater_op();
const OpSpec& not_equal_op();
const OpSpec& less_equal_op();
const OpSpec& greater_equal_op();
const OpSpec& where_op();
const OpSpec& masked_fill_op();

}  // namespace gradus
