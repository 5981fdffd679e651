#include "framework/ops/slicing.h"

#include <algorithm>

#include "framework/kernels/elements.h"
#include "framework/ops/cost.h"
#include "framework/ops/moved_elements.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

struct SliceRange {
  int axis;
  std::int64_t start, step, count;
};

SliceRange slice_range(const OpCall& call) {
  const int axis = call.axis("axis", call.input(0).rank());
  const std::int64_t start = call.integer("start"), stop = call.integer("stop"), step = call.integer("step");
  const std::int64_t size = call.input(0).shape()[axis];
  if (step < 1) call.fail("step must be at least 1");
  if (start < 0 || start > stop || stop > size) call.fail("the range {}..{} is not inside 0..{}", start, stop, size);
  return {axis, start, step, (stop - start + step - 1) / step};
}

/// The elements of `x` that a slice shows.
Tensor slice_window(const Tensor& x, const SliceRange& range) {
  Shape shape = x.shape(), strides = x.strides();
  shape[range.axis] = range.count;
  strides[range.axis] *= range.step;
  return x.window(shape, strides, x.offset() + (range.count > 0 ? range.start * x.strides()[range.axis] : 0));
}

}  // namespace

const OpSpec& slice_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "slice";
    spec.summary = "Every step-th element of a range of one axis.";
    spec.math = "y[..., j, ...] = x[..., start + j step, ...]";
    spec.derivation =
        "Elements inside the range have slope 1, the others 0: the cotangent goes back to its places "
        "among zeros (unslice).";
    spec.pitfalls = "Writing the cotangent at offset 0.";
    spec.inputs = {{"x"}};
    spec.attributes = {{"axis", std::int64_t{0}, "the axis"},
                       {"start", std::int64_t{0}, "first index"},
                       {"stop", std::int64_t{0}, "one past the last index"},
                       {"step", std::int64_t{1}, "distance"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      const SliceRange range = slice_range(call);
      Shape shape = call.input(0).shape();
      shape[range.axis] = range.count;
      return {{shape, call.input(0).dtype()}};
    };
    spec.is_view = true;
    spec.reference = [](const OpCall& call) -> Tensors {
      const SliceRange range = slice_range(call);
      Shape shape = call.input(0).shape();
      const Shape strides = contiguous_strides(shape);
      shape[range.axis] = range.count;
      const std::vector<double> from = call.input(0).to_vector<double>();
      std::vector<double> to(shape.numel());
      for (std::int64_t j = 0; j < static_cast<std::int64_t>(to.size()); ++j) {
        std::int64_t rest = j, i = 0;
        for (int axis = shape.rank() - 1; axis >= 0; --axis) {
          const std::int64_t index = rest % shape[axis];
          i += (axis == range.axis ? range.start + index * range.step : index) * strides[axis];
          rest /= shape[axis];
        }
        to[j] = from[i];
      }
      return {from_values(shape, to, call.input(0).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) { call.set_output(0, slice_window(call.input(0), slice_range(call))); };
    spec.backward_composite = [](BackwardCall& call) {
      const std::int64_t axis = call.integer("axis");
      const Shape& shape = call.input_spec(0).shape;
      call.set_gradient(0, unslice(call.cotangent(), axis, call.integer("start"),
                                   shape[normalize_axis(axis, shape.rank())], call.integer("step")));
    };
    const auto attributes = [](std::int64_t axis, std::int64_t start, std::int64_t stop, std::int64_t step) {
      return Attributes{{"axis", axis}, {"start", start}, {"stop", stop}, {"step", step}};
    };
    spec.samples = [attributes](SampleMaker& make) -> std::vector<Sample> {
      return {{"first rows", {make.normal({5, 3})}, attributes(0, 0, 2, 1)},
              {"middle", {make.normal({2, 7, 3})}, attributes(1, 2, 5, 1)},
              {"stepped", {make.normal({3, 11})}, attributes(-1, 1, 11, 3)},
              {"everything", {make.normal({3, 5})}, attributes(0, 0, 3, 1)}};
    };
    spec.edge_samples = [attributes](SampleMaker& make) -> std::vector<Sample> {
      std::vector<Sample> samples = special_values_sample(make, attributes(0, 1, 6, 2));
      samples.push_back({"nothing", {make.normal({3, 5})}, attributes(1, 5, 5, 1)});
      samples.push_back({"empty", {make.normal({0, 5})}, attributes(1, 1, 3, 1)});
      return samples;
    };
    spec.error_samples = [attributes](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"range", {make.normal({3, 5})}, attributes(1, 2, 6, 1), "the range 2..6 is not inside 0..5"},
              {"step", {make.normal({3, 5})}, attributes(1, 2, 4, 0), "step must be at least 1"},
              {"axis", {make.normal({3, 5})}, attributes(2, 0, 1, 1), "axis 2 is outside a tensor of 2 axes"}};
    };
    spec.error_model.roundings = no_rounding;
    spec.cost = [](const OpCall&) -> Cost { return {}; };
    return spec;
  }();
  return op;
}

const OpSpec& unslice_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "unslice";
    spec.summary = "Places x among zeros along one axis: the adjoint of slice.";
    spec.math = "y[..., start + j step, ...] = x[..., j, ...], all other elements 0";
    spec.derivation = "The inverse movement: the gradient is the same slice of the cotangent.";
    spec.inputs = {{"x"}};
    spec.attributes = {{"axis", std::int64_t{0}, "the axis"},
                       {"start", std::int64_t{0}, "index of the first element"},
                       {"size", std::int64_t{0}, "size of the axis in the result"},
                       {"step", std::int64_t{1}, "distance"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      const int axis = call.axis("axis", call.input(0).rank());
      Shape shape = call.input(0).shape();
      const std::int64_t start = call.integer("start"), size = call.integer("size"), step = call.integer("step");
      if (step < 1) call.fail("step must be at least 1");
      if (start < 0 || size < 0 || (shape[axis] > 0 && start + (shape[axis] - 1) * step >= size)) {
        call.fail("{} elements from {} in steps of {} do not fit an axis of {}", shape[axis], start, step, size);
      }
      shape[axis] = size;
      return {{shape, call.input(0).dtype()}};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Shape& from_shape = call.input(0).shape();
      const int along = normalize_axis(call.integer("axis"), from_shape.rank());
      Shape shape = from_shape;
      shape[along] = call.integer("size");
      const Shape strides = contiguous_strides(shape);
      const std::vector<double> from = call.input(0).to_vector<double>();
      std::vector<double> to(shape.numel(), 0.0);
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(from.size()); ++i) {
        std::int64_t rest = i, j = 0;
        for (int axis = shape.rank() - 1; axis >= 0; --axis) {
          const std::int64_t index = rest % from_shape[axis];
          j += (axis == along ? call.integer("start") + index * call.integer("step") : index) * strides[axis];
          rest /= from_shape[axis];
        }
        to[j] = from[i];
      }
      return {from_values(shape, to, call.input(0).dtype())};
    };
    spec.serves_every_device = true;
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor out = call.output(0);
      elements::fill(out, 0);
      const int axis = normalize_axis(call.integer("axis"), out.rank());
      elements::copy(
          slice_window(out, {axis, call.integer("start"), call.integer("step"), call.input(0).shape()[axis]}),
          call.input(0));
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Shape& shape = call.input_spec(0).shape;
      const std::int64_t axis = call.integer("axis"), start = call.integer("start"), step = call.integer("step");
      const std::int64_t count = shape[normalize_axis(axis, shape.rank())];
      const std::int64_t stop = count == 0 ? start : start + (count - 1) * step + 1;
      call.set_gradient(0, slice(call.cotangent(), axis, std::min(start, stop), stop, step));
    };
    const auto attributes = [](std::int64_t axis, std::int64_t start, std::int64_t size, std::int64_t step) {
      return Attributes{{"axis", axis}, {"start", start}, {"size", size}, {"step", step}};
    };
    spec.samples = [attributes](SampleMaker& make) -> std::vector<Sample> {
      return {{"rows", {make.normal({2, 3})}, attributes(0, 1, 5, 1)},
              {"stepped", {make.normal({3, 4})}, attributes(-1, 1, 11, 3)}};
    };
    spec.edge_samples = [attributes](SampleMaker& make) -> std::vector<Sample> {
      std::vector<Sample> samples = special_values_sample(make, attributes(0, 1, 9, 1));
      samples.push_back({"nothing", {make.normal({3, 0})}, attributes(1, 0, 4, 1)});
      return samples;
    };
    spec.error_samples = [attributes](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"too small",
               {make.normal({3})},
               attributes(0, 2, 4, 1),
               "3 elements from 2 in steps of 1 do not fit an axis of 4"},
              {"step", {make.normal({3})}, attributes(0, 0, 9, 0), "step must be at least 1"}};
    };
    spec.error_model.roundings = no_rounding;
    spec.cost = [](const OpCall& call) -> Cost { return {0, bytes_of_operands(call)}; };
    return spec;
  }();
  return op;
}

Tensor slice(const Tensor& x, std::int64_t axis, std::int64_t start, std::int64_t stop, std::int64_t step,
             SourceLocation where) {
  return apply(slice_op(), {x}, {{"axis", axis}, {"start", start}, {"stop", stop}, {"step", step}}, where)[0];
}
Tensor unslice(const Tensor& x, std::int64_t axis, std::int64_t start, std::int64_t size, std::int64_t step,
               SourceLocation where) {
  return apply(unslice_op(), {x}, {{"axis", axis}, {"start", start}, {"size", size}, {"step", step}}, where)[0];
}

}  // namespace gradus
