// Sums and means over axes. An empty list of axes means all of them; reduced axes are dropped unless keep_axes is set.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

Tensor sum(const Tensor& x, const std::vector<std::int64_t>& axes = {}, bool keep_axes = false,
           SourceLocation where = SourceLocation::current());
/// Mean over the axes; of no elements it is NaN.
Tensor mean(const Tensor& x, const std::vector<std::int64_t>& axes = {}, bool keep_axes = false,
            SourceLocation where = SourceLocation::current());
/// Sum of squared deviations from the mean over (count - correction). correction 1 gives the unbiased estimate.
Tensor var(const Tensor& x, const std::vector<std::int64_t>& axes = {}, bool keep_axes = false, double correction = 1,
           SourceLocation where = SourceLocation::current());
/// Sums over stretched and missing axes until the shape is `shape`: the adjoint of broadcast_to.
Tensor sum_to_shape(const Tensor& x, const Shape& shape, SourceLocation where = SourceLocation::current());

const OpSpec& sum_op();
const OpSpec& mean_op();
const OpSpec& var_op();
const OpSpec& sum_to_shape_op();

}  // namespace gradus
