// What reductions share: which axes go, the shapes that are left, definitions by plain loops.
#pragma once

#include <functional>
#include <vector>

#include "framework/ops/op_spec.h"

namespace gradus {

/// Which axes are reduced, and the two shapes of the result.
struct Reduction {
  std::vector<bool> reduced;
  Shape kept_shape;        ///< reduced axes with size 1
  Shape dropped_shape;     ///< reduced axes left out
  std::int64_t count = 1;  ///< elements that go into one result
};

/// By the attributes `axes` and `keep_axes` (no axes: all of them), or `axis` and `keep_axis`.
Reduction reduction_of(const Shape& shape, const Attributes& attributes);
/// With the reduced axes kept or dropped, as the attributes say.
const Shape& result_shape(const Reduction& reduction, const Attributes& attributes);

using Fold = std::function<double(const std::vector<double>&)>;
/// fold(the elements of one result) for each result, in order.
std::vector<double> fold_rows(const Tensor& x, const std::vector<bool>& reduced, const Fold& fold);
/// The definition of a reduction.
Tensors reference_fold(const OpCall& call, const Fold& fold);

/// The cotangent of a result as a tensor that broadcasts to the input.
Tensor with_kept_axes(const BackwardCall& call, const Tensor& tensor);
/// A contiguous tensor in another shape.
Tensor with_shape(const Tensor& tensor, const Shape& shape);

/// One operation for each element.
Cost reduction_cost(const OpCall& call);

}  // namespace gradus
