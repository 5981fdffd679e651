#include "framework/ops/views.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/elementwise.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

using Integers = std::vector<std::int64_t>;

/// Moving elements costs no arithmetic; views not even bytes.
Cost no_cost(const OpCall&) { return {}; }
Cost copy_cost(const OpCall& call) {
  return {0, 2.0 * call.input(0).numel() * size_in_bytes(call.input(0).dtype())};
}
double no_rounding(const OpCall&) { return 0; }

/// The sizes asked for with -1 replaced; fails where they do not fit the elements.
Shape resolve_shape(const OpCall& call) {
  Shape shape(call.attributes().integers("shape"));
  std::int64_t known = 1;
  int unknown = -1;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] == -1 && unknown < 0) unknown = axis;
    else if (shape[axis] < 0) call.fail("sizes must not be negative, except one -1");
    else known *= shape[axis];
  }
  const std::int64_t numel = call.input(0).numel();
  if (unknown >= 0) {
    if (known == 0 || numel % known != 0) call.fail("{} elements do not divide into the shape", numel);
    shape[unknown] = numel / known;
  }
  if (shape.numel() != numel) call.fail("{} elements do not fit the shape {}", numel, to_string(shape));
  return shape;
}

/// Strides that show `x` in `shape` without moving elements; false where there are none.
bool reshape_strides(const Tensor& x, const Shape& shape, Shape& strides) {
  if (x.is_contiguous()) {
    strides = contiguous_strides(shape);
    return true;
  }
  const cpu::LoopNest merged(x.shape(), {x.strides()});  // runs of axes that are walked as one
  strides = Shape::filled(shape.rank(), 1);
  int group = merged.shape.rank() - 1;
  std::int64_t left = merged.shape[group], step = merged.strides[0][group];
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (shape[axis] == 1) continue;
    if (left == 1) {
      if (--group < 0) return false;
      left = merged.shape[group];
      step = merged.strides[0][group];
    }
    if (left % shape[axis] != 0) return false;
    strides[axis] = step;
    step *= shape[axis];
    left /= shape[axis];
  }
  return true;
}

/// Row-major elements of x as doubles, for references.
Tensor rearranged(const OpCall& call, const Shape& shape, const std::vector<double>& values) {
  return from_values(shape, values, call.input(0).dtype());
}

Shape permuted_shape(const Shape& shape, const Integers& axes) {
  Shape result;
  for (std::int64_t axis : axes) result.push_back(shape[static_cast<int>(axis)]);
  return result;
}

Integers normalized_axes(const OpCall& call) {
  Integers axes = call.attributes().integers("axes");
  const int rank = call.input(0).rank();
  std::vector<bool> seen(rank);
  bool valid = static_cast<int>(axes.size()) == rank;
  for (std::int64_t& axis : axes) {
    if (!valid) break;
    valid = axis >= -rank && axis < rank;
    if (!valid) break;
    axis = normalize_axis(axis, rank);
    valid = !seen[axis];
    seen[axis] = true;
  }
  if (!valid) call.fail("axes must name each of the {} axes once", rank);
  return axes;
}

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

std::vector<Sample> plain_edge_samples(SampleMaker& make, Attributes attributes) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  return {{"special values", {make.values({6}, {0, -0.0, inf, -inf, nan, 1e-300})}, std::move(attributes)}};
}

}  // namespace

const OpSpec& identity_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "identity";
    spec.summary = "The same tensor under a new handle and a place of its own in the tape.";
    spec.math = "y = x";
    spec.derivation = "dy/dx = 1.";
    spec.inputs = {{"x"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> { return {call.input(0).spec()}; };
    spec.is_view = true;
    spec.reference = [](const OpCall& call) -> Tensors {
      return {rearranged(call, call.input(0).shape(), call.input(0).to_vector<double>())};
    };
    spec.cpu.forward = [](ForwardCall& call) { call.set_output(0, call.input(0).alias()); };
    spec.backward_composite = [](BackwardCall& call) { call.set_gradient(0, call.cotangent()); };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> { return {{"matrix", {make.normal({3, 5})}, {}}}; };
    spec.edge_samples = [](SampleMaker& make) { return plain_edge_samples(make, {}); };
    spec.error_model.roundings = no_rounding;
    spec.cost = no_cost;
    return spec;
  }();
  return op;
}

const OpSpec& reshape_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "reshape";
    spec.summary = "The same elements, in row-major order, in another shape.";
    spec.math = "y[j] = x[i] where i and j have the same row-major position";
    spec.derivation = "Every element moves to one place: the gradient is the cotangent in the shape of x.";
    spec.pitfalls = "Swapping axes by reshape: that needs permute.";
    spec.inputs = {{"x"}};
    spec.attributes = {{"shape", Integers{}, "sizes; one may be -1"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> { return {{resolve_shape(call), call.input(0).dtype()}}; };
    spec.is_view = true;
    spec.reference = [](const OpCall& call) -> Tensors {
      return {rearranged(call, resolve_shape(call), call.input(0).to_vector<double>())};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Shape& shape = call.promised()[0].shape;
      Shape strides;
      if (reshape_strides(call.input(0), shape, strides)) {
        call.set_output(0, call.input(0).window(shape, strides, call.input(0).offset()));
      } else {
        call.set_output(0, cpu::clone(call.input(0)).window(shape, contiguous_strides(shape), 0));
      }
    };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, reshape(call.cotangent(), call.input_spec(0).shape));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"merge", {make.normal({2, 3, 5})}, {{"shape", Integers{6, 5}}}},
              {"split", {make.normal({6, 5})}, {{"shape", Integers{2, 3, -1}}}},
              {"to scalar", {make.normal({1, 1})}, {{"shape", Integers{}}}},
              {"flatten", {make.normal({7, 3})}, {{"shape", Integers{-1}}}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      std::vector<Sample> samples = plain_edge_samples(make, {{"shape", Integers{2, 3}}});
      samples.push_back({"empty", {make.normal({0, 3})}, {{"shape", Integers{3, 0, 2}}}});
      return samples;
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"count", {make.normal({2, 3})}, {{"shape", Integers{4}}}, "6 elements do not fit the shape (4): x (2,3) f64 cpu, shape=[4]"},
              {"two unknown", {make.normal({2, 3})}, {{"shape", Integers{-1, -1}}}, "except one -1"},
              {"indivisible", {make.normal({2, 3})}, {{"shape", Integers{4, -1}}}, "do not divide"}};
    };
    spec.error_model.roundings = no_rounding;
    spec.cost = no_cost;
    return spec;
  }();
  return op;
}

const OpSpec& permute_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "permute";
    spec.summary = "Reorders the axes.";
    spec.math = "y[i_axes(0), i_axes(1), ...] = x[i_0, i_1, ...]";
    spec.derivation = "Every element moves to one place: the gradient is the cotangent with the inverse permutation.";
    spec.pitfalls = "Using the same permutation in backward: right for a swap, wrong for a cycle of three.";
    spec.inputs = {{"x"}};
    spec.attributes = {{"axes", Integers{}, "axis i of the result is axis axes[i] of x"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      return {{permuted_shape(call.input(0).shape(), normalized_axes(call)), call.input(0).dtype()}};
    };
    spec.is_view = true;
    spec.reference = [](const OpCall& call) -> Tensors {
      const Integers axes = normalized_axes(call);
      const Shape& shape = call.input(0).shape();
      const Shape result = permuted_shape(shape, axes), strides = contiguous_strides(shape);
      const std::vector<double> from = call.input(0).to_vector<double>();
      std::vector<double> to(from.size());
      for (std::int64_t j = 0; j < static_cast<std::int64_t>(to.size()); ++j) {
        std::int64_t rest = j, i = 0;
        for (int axis = result.rank() - 1; axis >= 0; --axis) {
          i += rest % result[axis] * strides[static_cast<int>(axes[axis])];
          rest /= result[axis];
        }
        to[j] = from[i];
      }
      return {rearranged(call, result, to)};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Integers axes = normalized_axes(call);
      const Tensor& x = call.input(0);
      call.set_output(0, x.window(call.promised()[0].shape, permuted_shape(x.strides(), axes), x.offset()));
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Integers& axes = call.attributes().integers("axes");
      const int rank = static_cast<int>(axes.size());
      Integers inverse(axes.size());
      for (int i = 0; i < rank; ++i) inverse[normalize_axis(axes[i], rank)] = i;
      call.set_gradient(0, permute(call.cotangent(), inverse));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"transpose", {make.normal({3, 5})}, {{"axes", Integers{1, 0}}}},
              {"cycle", {make.normal({2, 3, 5})}, {{"axes", Integers{2, 0, 1}}}},
              {"heads", {make.normal({2, 3, 2, 5})}, {{"axes", Integers{0, 2, 1, 3}}}},
              {"negative", {make.normal({2, 3, 5})}, {{"axes", Integers{0, -1, -2}}}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      std::vector<Sample> samples = plain_edge_samples(make, {{"axes", Integers{0}}});
      samples.push_back({"empty", {make.normal({0, 3})}, {{"axes", Integers{1, 0}}}});
      samples.push_back({"scalar", {make.normal({})}, {{"axes", Integers{}}}});
      return samples;
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"twice", {make.normal({2, 3})}, {{"axes", Integers{0, 0}}}, "axes must name each of the 2 axes once: x (2,3) f64 cpu, axes=[0, 0]"},
              {"too few", {make.normal({2, 3})}, {{"axes", Integers{0}}}, "each of the 2 axes once"}};
    };
    spec.error_model.roundings = no_rounding;
    spec.cost = no_cost;
    return spec;
  }();
  return op;
}

const OpSpec& slice_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "slice";
    spec.summary = "Every step-th element of a range of one axis.";
    spec.math = "y[..., j, ...] = x[..., start + j step, ...]";
    spec.derivation = "Elements inside the range have slope 1, the others 0: the cotangent goes back to its places "
                      "among zeros (unslice).";
    spec.pitfalls = "Writing the cotangent at offset 0.";
    spec.inputs = {{"x"}};
    spec.attributes = {{"axis", std::int64_t{0}, "the axis"}, {"start", std::int64_t{0}, "first index"},
                       {"stop", std::int64_t{0}, "one past the last index"}, {"step", std::int64_t{1}, "distance"}};
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
      return {rearranged(call, shape, to)};
    };
    spec.cpu.forward = [](ForwardCall& call) { call.set_output(0, slice_window(call.input(0), slice_range(call))); };
    spec.backward_composite = [](BackwardCall& call) {
      const std::int64_t axis = call.integer("axis");
      const Shape& shape = call.input_spec(0).shape;
      call.set_gradient(0, unslice(call.cotangent(), axis, call.integer("start"), shape[normalize_axis(axis, shape.rank())],
                                   call.integer("step")));
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
      std::vector<Sample> samples = plain_edge_samples(make, attributes(0, 1, 6, 2));
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
    spec.cost = no_cost;
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
    spec.attributes = {{"axis", std::int64_t{0}, "the axis"}, {"start", std::int64_t{0}, "index of the first element"},
                       {"size", std::int64_t{0}, "size of the axis in the result"}, {"step", std::int64_t{1}, "distance"}};
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
      return {rearranged(call, shape, to)};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor out = zeros(call.promised()[0].shape, call.input(0).dtype());
      const int axis = normalize_axis(call.integer("axis"), out.rank());
      cpu::copy(slice_window(out, {axis, call.integer("start"), call.integer("step"), call.input(0).shape()[axis]}), call.input(0));
      call.set_output(0, out);
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
      std::vector<Sample> samples = plain_edge_samples(make, attributes(0, 1, 9, 1));
      samples.push_back({"nothing", {make.normal({3, 0})}, attributes(1, 0, 4, 1)});
      return samples;
    };
    spec.error_samples = [attributes](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"too small", {make.normal({3})}, attributes(0, 2, 4, 1), "3 elements from 2 in steps of 1 do not fit an axis of 4"},
              {"step", {make.normal({3})}, attributes(0, 0, 9, 0), "step must be at least 1"}};
    };
    spec.error_model.roundings = no_rounding;
    spec.cost = copy_cost;
    return spec;
  }();
  return op;
}

const OpSpec& broadcast_to_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "broadcast_to";
    spec.summary = "Stretches axes of size 1, and missing leading axes, without copying.";
    spec.math = "y[i] = x[i with 0 on the stretched axes]";
    spec.derivation = "Each element is used once for every copy, so its gradient is the sum over the stretched axes.";
    spec.pitfalls = "A mean in place of the sum.";
    spec.inputs = {{"x"}};
    spec.attributes = {{"shape", Integers{}, "the shape to stretch to"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      const Shape shape(call.attributes().integers("shape"));
      Shape broadcast;
      if (!broadcast_shapes(call.input(0).shape(), shape, broadcast) || !(broadcast == shape)) {
        call.fail("the shape does not stretch to {}", to_string(shape));
      }
      return {{shape, call.input(0).dtype()}};
    };
    spec.is_view = true;
    spec.reference = [](const OpCall& call) -> Tensors {
      const Shape shape(call.attributes().integers("shape")), &from_shape = call.input(0).shape();
      const Shape strides = contiguous_strides(from_shape);
      const std::vector<double> from = call.input(0).to_vector<double>();
      std::vector<double> to(shape.numel());
      const int missing = shape.rank() - from_shape.rank();
      for (std::int64_t j = 0; j < static_cast<std::int64_t>(to.size()); ++j) {
        std::int64_t rest = j, i = 0;
        for (int axis = shape.rank() - 1; axis >= 0; --axis) {
          const std::int64_t index = rest % shape[axis];
          if (axis >= missing && from_shape[axis - missing] != 1) i += index * strides[axis - missing];
          rest /= shape[axis];
        }
        to[j] = from[i];
      }
      return {rearranged(call, shape, to)};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor& x = call.input(0);
      const Shape& shape = call.promised()[0].shape;
      call.set_output(0, x.window(shape, cpu::broadcast_strides(x, shape), x.offset()));
    };
    spec.backward_composite = [](BackwardCall& call) { call.set_gradient(0, call.cotangent()); };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"column", {make.normal({3, 1})}, {{"shape", Integers{3, 5}}}},
              {"new axes", {make.normal({5})}, {{"shape", Integers{2, 3, 5}}}},
              {"scalar", {make.normal({})}, {{"shape", Integers{2, 3}}}},
              {"middle", {make.normal({2, 1, 3})}, {{"shape", Integers{2, 7, 3}}}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      std::vector<Sample> samples = plain_edge_samples(make, {{"shape", Integers{2, 6}}});
      samples.push_back({"to nothing", {make.normal({1, 3})}, {{"shape", Integers{0, 3}}}});
      return samples;
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"size", {make.normal({3})}, {{"shape", Integers{2, 4}}}, "the shape does not stretch to (2,4): x (3) f64 cpu"},
              {"rank", {make.normal({2, 3})}, {{"shape", Integers{3}}}, "does not stretch to (3)"}};
    };
    spec.error_model.roundings = no_rounding;
    spec.cost = no_cost;
    return spec;
  }();
  return op;
}

const OpSpec& clone_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "clone";
    spec.summary = "A packed copy.";
    spec.math = "y = x";
    spec.derivation = "dy/dx = 1.";
    spec.inputs = {{"x"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> { return {call.input(0).spec()}; };
    spec.reference = [](const OpCall& call) -> Tensors {
      return {rearranged(call, call.input(0).shape(), call.input(0).to_vector<double>())};
    };
    spec.cpu.bf16 = true;
    spec.cpu.forward = [](ForwardCall& call) { cpu::copy(call.output(0), call.input(0)); };
    spec.backward_composite = [](BackwardCall& call) { call.set_gradient(0, call.cotangent()); };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> { return {{"matrix", {make.normal({3, 5})}, {}}}; };
    spec.edge_samples = [](SampleMaker& make) { return plain_edge_samples(make, {}); };
    spec.error_model.roundings = no_rounding;
    spec.cost = copy_cost;
    return spec;
  }();
  return op;
}

const OpSpec& cast_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "cast";
    spec.summary = "Converts the dtype.";
    spec.math = "y = x, rounded to the new type";
    spec.derivation = "Rounding is treated as the identity: the gradient is the cotangent in the dtype of x.";
    spec.pitfalls = "Float to integer truncates towards 0 and has no gradient.";
    spec.inputs = {{"x"}};
    spec.attributes = {{"dtype", std::string("f32"), "f64, f32, bf16, i64, i32, u8 or bool"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      return {{call.input(0).shape(), dtype_from_string(call.attributes().text("dtype"))}};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      return {from_values(call.input(0).shape(), call.input(0).to_vector<double>(), dtype_from_string(call.attributes().text("dtype")))};
    };
    spec.cpu.bf16 = true;
    spec.cpu.forward = [](ForwardCall& call) { cpu::copy(call.output(0), call.input(0)); };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, cast(call.cotangent(), call.input_spec(0).dtype));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"to f64", {make.normal({3, 5})}, {{"dtype", std::string("f64")}}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      std::vector<Sample> samples = plain_edge_samples(make, {{"dtype", std::string("f32")}});
      samples.push_back({"to bf16", {make.normal({7})}, {{"dtype", std::string("bf16")}}});
      samples.push_back({"to i64", {make.uniform({7}, -9, 9)}, {{"dtype", std::string("i64")}}});
      samples.push_back({"to bool", {make.values({3}, {0, -0.0, 2})}, {{"dtype", std::string("bool")}}});
      return samples;
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"name", {make.normal({3})}, {{"dtype", std::string("f16")}}, "unknown dtype 'f16'"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 1.0; };
    spec.cost = copy_cost;
    return spec;
  }();
  return op;
}

Tensor identity(const Tensor& x, SourceLocation where) { return apply(identity_op(), {x}, {}, where)[0]; }
Tensor reshape(const Tensor& x, const Shape& shape, SourceLocation where) {
  return apply(reshape_op(), {x}, {{"shape", shape.to_vector()}}, where)[0];
}
Tensor permute(const Tensor& x, const Integers& axes, SourceLocation where) {
  return apply(permute_op(), {x}, {{"axes", axes}}, where)[0];
}
Tensor transpose(const Tensor& x, std::int64_t axis0, std::int64_t axis1, SourceLocation where) {
  Integers axes(x.rank());
  std::iota(axes.begin(), axes.end(), 0);
  std::swap(axes[normalize_axis(axis0, x.rank())], axes[normalize_axis(axis1, x.rank())]);
  return permute(x, axes, where);
}
Tensor slice(const Tensor& x, std::int64_t axis, std::int64_t start, std::int64_t stop, std::int64_t step, SourceLocation where) {
  return apply(slice_op(), {x}, {{"axis", axis}, {"start", start}, {"stop", stop}, {"step", step}}, where)[0];
}
Tensor unslice(const Tensor& x, std::int64_t axis, std::int64_t start, std::int64_t size, std::int64_t step, SourceLocation where) {
  return apply(unslice_op(), {x}, {{"axis", axis}, {"start", start}, {"size", size}, {"step", step}}, where)[0];
}
Tensor broadcast_to(const Tensor& x, const Shape& shape, SourceLocation where) {
  return apply(broadcast_to_op(), {x}, {{"shape", shape.to_vector()}}, where)[0];
}
Tensor clone(const Tensor& x, SourceLocation where) { return apply(clone_op(), {x}, {}, where)[0]; }
Tensor cast(const Tensor& x, DType dtype, SourceLocation where) {
  if (x.dtype() == dtype) return x;
  return apply(cast_op(), {x}, {{"dtype", std::string(to_string(dtype))}}, where)[0];
}

}  // namespace gradus
