#include "framework/ops/views.h"

#include <numeric>

#include "framework/kernels/cpu/elementwise.h"
#include "framework/kernels/elements.h"
#include "framework/ops/moved_elements.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

using Integers = std::vector<std::int64_t>;

/// Not even bytes are moved.
Cost no_cost(const OpCall&) { return {}; }

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
  const LoopNest merged(x.shape(), {x.strides()});  // runs of axes that are walked as one
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
      return {from_values(call.input(0).shape(), call.input(0).to_vector<double>(), call.input(0).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) { call.set_output(0, call.input(0).alias()); };
    spec.backward_composite = [](BackwardCall& call) { call.set_gradient(0, call.cotangent()); };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> { return {{"matrix", {make.normal({3, 5})}, {}}}; };
    spec.edge_samples = [](SampleMaker& make) { return special_values_sample(make, {}); };
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
      return {from_values(resolve_shape(call), call.input(0).to_vector<double>(), call.input(0).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Shape& shape = call.promised()[0].shape;
      Shape strides;
      if (reshape_strides(call.input(0), shape, strides)) {
        call.set_output(0, call.input(0).window(shape, strides, call.input(0).offset()));
      } else {
        call.set_output(0, elements::clone(call.input(0)).window(shape, contiguous_strides(shape), 0));
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
      std::vector<Sample> samples = special_values_sample(make, {{"shape", Integers{2, 3}}});
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
      return {from_values(result, to, call.input(0).dtype())};
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
      std::vector<Sample> samples = special_values_sample(make, {{"axes", Integers{0}}});
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
      return {from_values(shape, to, call.input(0).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor& x = call.input(0);
      const Shape& shape = call.promised()[0].shape;
      call.set_output(0, x.window(shape, broadcast_strides(x, shape), x.offset()));
    };
    spec.backward_composite = [](BackwardCall& call) { call.set_gradient(0, call.cotangent()); };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"column", {make.normal({3, 1})}, {{"shape", Integers{3, 5}}}},
              {"new axes", {make.normal({5})}, {{"shape", Integers{2, 3, 5}}}},
              {"scalar", {make.normal({})}, {{"shape", Integers{2, 3}}}},
              {"middle", {make.normal({2, 1, 3})}, {{"shape", Integers{2, 7, 3}}}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      std::vector<Sample> samples = special_values_sample(make, {{"shape", Integers{2, 6}}});
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
Tensor broadcast_to(const Tensor& x, const Shape& shape, SourceLocation where) {
  return apply(broadcast_to_op(), {x}, {{"shape", shape.to_vector()}}, where)[0];
}

}  // namespace gradus
