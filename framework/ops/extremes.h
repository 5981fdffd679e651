// The largest element along one axis, and where it is.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// Largest element along one axis; the gradient goes to the first of equals. NaN wins.
Tensor max(const Tensor& x, std::int64_t axis = -1, bool keep_axis = false,
           SourceLocation where = SourceLocation::current());
/// Index (i64) of the largest element along one axis, the first of equals; not differentiable.
Tensor argmax(const Tensor& x, std::int64_t axis = -1, bool keep_axis = false,
              SourceLocation where = SourceLocation::current());

const OpSpec& max_op();
const OpSpec& argmax_op();

}  // namespace gradus
