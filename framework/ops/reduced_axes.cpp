#include "framework/ops/reduced_axes.h"

#include "framework/ops/cost.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

using Integers = std::vector<std::int64_t>;

Reduction reduction_over(const Shape& shape, const Integers& axes) {
  Reduction r;
  r.reduced.assign(shape.rank(), axes.empty());
  for (std::int64_t axis : axes) r.reduced[normalize_axis(axis, shape.rank())] = true;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    r.kept_shape.push_back(r.reduced[axis] ? 1 : shape[axis]);
    if (r.reduced[axis]) r.count *= shape[axis];
    else r.dropped_shape.push_back(shape[axis]);
  }
  return r;
}

bool keeps_axes(const Attributes& attributes) {
  return attributes.flag(attributes.find("keep_axes") ? "keep_axes" : "keep_axis");
}

}  // namespace

Reduction reduction_of(const Shape& shape, const Attributes& attributes) {
  const Integers axes = attributes.find("axes") ? attributes.integers("axes") : Integers{attributes.integer("axis")};
  return reduction_over(shape, axes);
}

const Shape& result_shape(const Reduction& r, const Attributes& attributes) {
  return keeps_axes(attributes) ? r.kept_shape : r.dropped_shape;
}

std::vector<double> fold_rows(const Tensor& x, const std::vector<bool>& reduced, const Fold& fold) {
  const Reduction r = [&] {
    Integers axes;
    for (int axis = 0; axis < x.rank(); ++axis)
      if (reduced[axis]) axes.push_back(axis);
    return axes.empty() ? Reduction{reduced, x.shape(), x.shape(), 1} : reduction_over(x.shape(), axes);
  }();
  const Shape strides = contiguous_strides(r.kept_shape);
  const std::vector<double> values = x.to_vector<double>();
  std::vector<std::vector<double>> rows(r.kept_shape.numel());
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::int64_t rest = i, row = 0;
    for (int axis = x.rank() - 1; axis >= 0; --axis) {
      const std::int64_t index = rest % x.shape()[axis];
      rest /= x.shape()[axis];
      if (!r.reduced[axis]) row += index * strides[axis];
    }
    rows[row].push_back(values[i]);
  }
  std::vector<double> results;
  for (const auto& row : rows) results.push_back(fold(row));
  return results;
}

Tensors reference_fold(const OpCall& call, const Fold& fold) {
  const Reduction r = reduction_of(call.input(0).shape(), call.attributes());
  return {from_values(result_shape(r, call.attributes()), fold_rows(call.input(0), r.reduced, fold),
                      call.input(0).dtype())};
}

Tensor with_kept_axes(const BackwardCall& call, const Tensor& tensor) {
  return reshape(tensor, reduction_of(call.input_spec(0).shape, call.attributes()).kept_shape);
}

Tensor with_shape(const Tensor& tensor, const Shape& shape) {
  return tensor.window(shape, contiguous_strides(shape), tensor.offset());
}

Cost reduction_cost(const OpCall& call) { return {double(call.input(0).numel()), bytes_of_operands(call)}; }

}  // namespace gradus
