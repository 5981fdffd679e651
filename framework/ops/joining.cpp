#include "framework/ops/joining.h"

#include <limits>

#include "framework/kernels/elements.h"
#include "framework/ops/cost.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

using Integers = std::vector<std::int64_t>;
constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Cost copied_bytes(const OpCall& call) { return {0, bytes_of_operands(call)}; }

/// Elements start..start+count-1 of one axis, as a window.
Tensor part(const Tensor& x, int axis, std::int64_t start, std::int64_t count) {
  Shape shape = x.shape();
  shape[axis] = count;
  return x.window(shape, x.strides(), x.offset() + (count > 0 ? start * x.strides()[axis] : 0));
}

/// The definition of joining along `axis`, on row-major doubles: blocks of `width[k]` inner elements in turn.
std::vector<double> interleave(const std::vector<std::vector<double>>& parts, std::int64_t outer) {
  std::vector<double> joined;
  for (std::int64_t row = 0; row < outer; ++row) {
    for (const std::vector<double>& values : parts) {
      const std::int64_t width = values.size() / outer;
      joined.insert(joined.end(), values.begin() + row * width, values.begin() + (row + 1) * width);
    }
  }
  return joined;
}

Tensor reference_join(const OpCall& call, const Shape& shape, int axis) {
  std::int64_t outer = 1;
  for (int i = 0; i < axis; ++i) outer *= shape[i];
  std::vector<std::vector<double>> parts;
  for (const Tensor& input : call.inputs()) parts.push_back(input.to_vector<double>());
  return from_values(shape, outer == 0 ? std::vector<double>{} : interleave(parts, outer), call.input(0).dtype());
}

Shape concat_shape(const OpCall& call) {
  if (call.inputs().empty()) call.fail("there is nothing to join");
  Shape shape = call.input(0).shape();
  if (shape.rank() == 0) call.fail("scalars have no axis to join along; use stack");
  const int axis = call.axis("axis", shape.rank());
  shape[axis] = 0;
  for (std::size_t i = 0; i < call.inputs().size(); ++i) {
    call.require_same_dtype(0, i);
    call.require_rank(i, shape.rank());
    for (int other = 0; other < shape.rank(); ++other) {
      if (other != axis && call.input(i).shape()[other] != shape[other]) call.fail("sizes differ off the joined axis");
    }
    shape[axis] += call.input(i).shape()[axis];
  }
  return shape;
}

Shape stack_shape(const OpCall& call) {
  if (call.inputs().empty()) call.fail("there is nothing to stack");
  const Shape& one = call.input(0).shape();
  for (std::size_t i = 0; i < call.inputs().size(); ++i) {
    call.require_same_dtype(0, i);
    if (!(call.input(i).shape() == one)) call.fail("shapes differ");
  }
  const int axis = call.axis("axis", one.rank() + 1);
  Shape shape;
  for (int i = 0; i <= one.rank(); ++i) {
    if (i == axis) shape.push_back(static_cast<std::int64_t>(call.inputs().size()));
    if (i < one.rank()) shape.push_back(one[i]);
  }
  return shape;
}

Shape repeat_shape(const OpCall& call) {
  const Integers& repeats = call.attributes().integers("repeats");
  Shape shape = call.input(0).shape();
  if (static_cast<int>(repeats.size()) != shape.rank()) call.fail("repeats needs one number for each of the {} axes", shape.rank());
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (repeats[axis] < 0) call.fail("repeats must not be negative");
    shape[axis] *= repeats[axis];
  }
  return shape;
}

/// (r0, r1) copies of (n0, n1) as the shapes (1, n0, 1, n1) -> (r0, n0, r1, n1).
void split_axes(const Shape& shape, const Integers& repeats, Shape& single, Shape& tiled) {
  for (int axis = 0; axis < shape.rank(); ++axis) {
    single.push_back(1);
    single.push_back(shape[axis]);
    tiled.push_back(repeats[axis]);
    tiled.push_back(shape[axis]);
  }
}

}  // namespace

const OpSpec& concat_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "concat";
    spec.summary = "Joins tensors along an existing axis.";
    spec.math = "y[..., o_k + j, ...] = x_k[..., j, ...], o_k = sum of the sizes before tensor k";
    spec.derivation = "Every element moves to one place: the gradient of tensor k is its slice of the cotangent.";
    spec.pitfalls = "Offsets of the slices in backward.";
    spec.inputs = {{.name = "tensors", .variadic = true}};
    spec.attributes = {{"axis", std::int64_t{0}, "the axis to join along"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> { return {{concat_shape(call), call.input(0).dtype()}}; };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Shape shape = concat_shape(call);
      return {reference_join(call, shape, normalize_axis(call.integer("axis"), shape.rank()))};
    };
    spec.serves_every_device = true;
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor& out = call.output(0);
      const int axis = normalize_axis(call.integer("axis"), out.rank());
      std::int64_t start = 0;
      for (const Tensor& tensor : call.inputs()) {
        elements::copy(part(out, axis, start, tensor.shape()[axis]), tensor);
        start += tensor.shape()[axis];
      }
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor g = call.cotangent();
      const int axis = normalize_axis(call.integer("axis"), g.rank());
      std::int64_t start = 0;
      for (std::size_t i = 0; i < call.input_count(); ++i) {
        const std::int64_t count = call.input_spec(i).shape[axis];
        if (call.needs(i)) call.set_gradient(i, slice(g, axis, start, start + count));
        start += count;
      }
    };
    const auto along = [](std::int64_t axis) { return Attributes{{"axis", axis}}; };
    spec.samples = [along](SampleMaker& make) -> std::vector<Sample> {
      return {{"rows", {make.normal({2, 3}), make.normal({5, 3})}, along(0)},
              {"columns", {make.normal({2, 3}), make.normal({2, 1}), make.normal({2, 4})}, along(-1)},
              {"middle", {make.normal({2, 3, 2}), make.normal({2, 1, 2})}, along(1)},
              {"one", {make.normal({3, 2})}, along(0)}};
    };
    spec.edge_samples = [along](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({3}, {nan, inf, -0.0}), make.values({1}, {-inf})}, along(0)},
              {"an empty part", {make.normal({2, 0}), make.normal({2, 3})}, along(1)},
              {"integers", {make.integers({2}, 0, 5), make.integers({3}, 0, 5)}, along(0)}};
    };
    spec.error_samples = [along](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"sizes", {make.normal({2, 3}), make.normal({2, 4})}, along(0), "sizes differ off the joined axis: tensors[0] (2,3) f64 cpu, tensors[1] (2,4) f64 cpu"},
              {"nothing", {}, along(0), "there is nothing to join"},
              {"scalars", {make.normal({}), make.normal({})}, along(0), "use stack"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 0.0; };
    spec.cost = copied_bytes;
    return spec;
  }();
  return op;
}

const OpSpec& stack_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "stack";
    spec.summary = "Joins tensors of one shape along a new axis.";
    spec.math = "y[..., k, ...] = x_k[..., ...]";
    spec.derivation = "The gradient of tensor k is index k of the cotangent along the new axis.";
    spec.inputs = {{.name = "tensors", .variadic = true}};
    spec.attributes = {{"axis", std::int64_t{0}, "place of the new axis"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> { return {{stack_shape(call), call.input(0).dtype()}}; };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Shape shape = stack_shape(call);
      return {reference_join(call, shape, normalize_axis(call.integer("axis"), shape.rank()))};
    };
    spec.serves_every_device = true;
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor& out = call.output(0);
      const int axis = normalize_axis(call.integer("axis"), out.rank());
      for (std::size_t k = 0; k < call.inputs().size(); ++k) {
        Shape shape, strides;
        for (int i = 0; i < out.rank(); ++i) {
          if (i == axis) continue;
          shape.push_back(out.shape()[i]);
          strides.push_back(out.strides()[i]);
        }
        if (call.input(k).numel() > 0)
          elements::copy(out.window(shape, strides, out.strides()[axis] * k), call.input(k));
      }
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor g = call.cotangent();
      const int axis = normalize_axis(call.integer("axis"), g.rank());
      for (std::size_t i = 0; i < call.input_count(); ++i) {
        if (call.needs(i)) call.set_gradient(i, reshape(slice(g, axis, i, i + 1), call.input_spec(i).shape));
      }
    };
    const auto along = [](std::int64_t axis) { return Attributes{{"axis", axis}}; };
    spec.samples = [along](SampleMaker& make) -> std::vector<Sample> {
      return {{"front", {make.normal({2, 3}), make.normal({2, 3})}, along(0)},
              {"back", {make.normal({5}), make.normal({5}), make.normal({5})}, along(-1)},
              {"middle", {make.normal({2, 3}), make.normal({2, 3})}, along(1)},
              {"scalars", {make.normal({}), make.normal({})}, along(0)}};
    };
    spec.edge_samples = [along](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({2}, {nan, inf}), make.values({2}, {-0.0, -inf})}, along(1)},
              {"empty", {make.normal({0, 2}), make.normal({0, 2})}, along(0)}};
    };
    spec.error_samples = [along](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"shapes", {make.normal({2}), make.normal({3})}, along(0), "shapes differ: tensors[0] (2) f64 cpu, tensors[1] (3) f64 cpu"},
              {"axis", {make.normal({2})}, along(2), "axis 2 is outside a tensor of 2 axes"},
              {"nothing", {}, along(0), "there is nothing to stack"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 0.0; };
    spec.cost = copied_bytes;
    return spec;
  }();
  return op;
}

const OpSpec& repeat_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "repeat";
    spec.summary = "Tiles a tensor a number of times along each axis.";
    spec.math = "y[i_0, i_1, ...] = x[i_0 mod n_0, i_1 mod n_1, ...]";
    spec.derivation = "Each element is used once in every tile: its gradient is the sum over the tiles.";
    spec.pitfalls = "Repeating each element in a row (0,0,1,1) is another op: this one gives 0,1,0,1.";
    spec.inputs = {{"x"}};
    spec.attributes = {{"repeats", Integers{}, "number of tiles for each axis"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> { return {{repeat_shape(call), call.input(0).dtype()}}; };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Shape shape = repeat_shape(call), &from_shape = call.input(0).shape();
      const Shape strides = contiguous_strides(from_shape);
      const std::vector<double> from = call.input(0).to_vector<double>();
      std::vector<double> to(shape.numel());
      for (std::int64_t j = 0; j < static_cast<std::int64_t>(to.size()); ++j) {
        std::int64_t rest = j, i = 0;
        for (int axis = shape.rank() - 1; axis >= 0; --axis) {
          i += rest % shape[axis] % from_shape[axis] * strides[axis];
          rest /= shape[axis];
        }
        to[j] = from[i];
      }
      return {from_values(shape, to, call.input(0).dtype())};
    };
    spec.serves_every_device = true;
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor x = elements::contiguous(call.input(0));
      if (x.rank() > max_rank / 2) call.fail("at most {} axes can be repeated", max_rank / 2);
      Shape single, tiled;
      split_axes(x.shape(), call.attributes().integers("repeats"), single, tiled);
      const Tensor& out = call.output(0);
      elements::copy(out.window(tiled, contiguous_strides(tiled), 0),
                     x.window(single, contiguous_strides(single), x.offset()));
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Shape& shape = call.input_spec(0).shape;
      Shape single, tiled;
      split_axes(shape, call.attributes().integers("repeats"), single, tiled);
      Integers axes;
      for (int axis = 0; axis < shape.rank(); ++axis) axes.push_back(2 * axis);
      const Tensor g = call.cotangent();
      call.set_gradient(0, shape.rank() == 0 ? g : reshape(sum(reshape(g, tiled), axes), shape));
    };
    const auto times = [](Integers repeats) { return Attributes{{"repeats", std::move(repeats)}}; };
    spec.samples = [times](SampleMaker& make) -> std::vector<Sample> {
      return {{"both axes", {make.normal({2, 3})}, times({2, 3})},
              {"one axis", {make.normal({5})}, times({3})},
              {"middle", {make.normal({2, 1, 3})}, times({1, 4, 1})}};
    };
    spec.edge_samples = [times](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({3}, {nan, inf, -0.0})}, times({2})},
              {"no times", {make.normal({2, 3})}, times({0, 1})},
              {"scalar", {make.normal({})}, times({})}};
    };
    spec.error_samples = [times](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"count", {make.normal({2, 3})}, times({2}), "repeats needs one number for each of the 2 axes: x (2,3) f64 cpu, repeats=[2]"},
              {"negative", {make.normal({2})}, times({-1}), "repeats must not be negative"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 0.0; };
    spec.cost = copied_bytes;
    return spec;
  }();
  return op;
}

Tensor concat(const Tensors& tensors, std::int64_t axis, SourceLocation where) {
  return apply(concat_op(), tensors, {{"axis", axis}}, where)[0];
}
Tensor stack(const Tensors& tensors, std::int64_t axis, SourceLocation where) {
  return apply(stack_op(), tensors, {{"axis", axis}}, where)[0];
}
Tensor repeat(const Tensor& x, const Integers& repeats, SourceLocation where) {
  return apply(repeat_op(), {x}, {{"repeats", repeats}}, where)[0];
}

}  // namespace gradus
