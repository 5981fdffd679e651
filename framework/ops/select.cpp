#include "framework/ops/select.h"

#include <limits>

#include "framework/kernels/cpu/elementwise.h"
#include "framework/kernels/shared/scalar_functions.h"
#include "framework/ops/cost.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::vector<double> expanded(const Tensor& x, const Shape& shape) {
  return x.window(shape, broadcast_strides(x, shape), x.offset()).to_vector<double>();
}

Cost moved_bytes(const OpCall& call) { return {0, bytes_of_operands(call)}; }

template <class F>
OpSpec comparison(const char* name, const char* summary, const char* math, F compare) {
  OpSpec spec;
  spec.name = name;
  spec.summary = summary;
  spec.math = math;
  spec.pitfalls = "Every comparison with NaN is false, but for not_equal, which is true.";
  spec.inputs = {{.name = "a", .differentiable = false}, {.name = "b", .differentiable = false}};
  spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
    call.require_same_dtype(0, 1);
    if (call.input(0).dtype() != DType::i64) call.require_compute_dtype(0);
    Shape shape;
    if (!broadcast_shapes(call.input(0).shape(), call.input(1).shape(), shape)) call.fail("shapes do not broadcast");
    return {{shape, DType::boolean}};
  };
  spec.reference = [compare](const OpCall& call) -> Tensors {
    Shape shape;
    broadcast_shapes(call.input(0).shape(), call.input(1).shape(), shape);
    std::vector<double> a = expanded(call.input(0), shape);
    const std::vector<double> b = expanded(call.input(1), shape);
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = compare(a[i], b[i]);
    return {from_values(shape, a, DType::boolean)};
  };
  spec.cpu.forward = [compare](ForwardCall& call) {
    const auto run = [&]<class T>() {
      cpu::map_elements<bool>(call.output(0), compare, cpu::Operand<T>{call.input(0)}, cpu::Operand<T>{call.input(1)});
    };
    if (call.input(0).dtype() == DType::i64) run.template operator()<std::int64_t>();
    else visit_compute_dtype(call.input(0).dtype(), run);
  };
  spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
    return {{"matrix and row", {make.normal({3, 5}), make.normal({5})}, {}},
            {"integers", {make.integers({7, 1}, -2, 2), make.integers({1, 3}, -2, 2)}, {}}};
  };
  spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
    return {{"special values", {make.values({5}, {0, -0.0, inf, nan, nan}), make.values({5}, {-0.0, 0, inf, nan, 1})}, {}},
            {"empty", {make.normal({0, 2}), make.normal({2})}, {}}};
  };
  spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
    return {{"shapes", {make.normal({2}), make.normal({3})}, {}, "shapes do not broadcast: a (2) f64 cpu, b (3) f64 cpu"},
            {"dtypes", {make.normal({2}), make.integers({2}, 0, 1)}, {}, "dtypes differ"}};
  };
  spec.error_model.roundings = [](const OpCall&) { return 0.0; };
  spec.cost = moved_bytes;
  return spec;
}

Shape where_shape(const OpCall& call) {
  Shape shape;
  if (!broadcast_shapes(call.input(1).shape(), call.input(2).shape(), shape) ||
      !broadcast_shapes(call.input(0).shape(), shape, shape)) {
    call.fail("shapes do not broadcast");
  }
  return shape;
}

/// A zero that broadcasts to anything.
Tensor zero_like(const Tensor& g) { return scalar(0, g.dtype(), g.device()); }

}  // namespace

const OpSpec& equal_op() {
  static const OpSpec op = comparison("equal", "True where the elements are equal.", "y = [a = b]", functions::Equal{});
  return op;
}
const OpSpec& less_op() {
  static const OpSpec op = comparison("less", "True where a is less than b.", "y = [a < b]", functions::Less{});
  return op;
}
const OpSpec& greater_op() {
  static const OpSpec op =
      comparison("greater", "True where a is greater than b.", "y = [a > b]", functions::Greater{});
  return op;
}

const OpSpec& not_equal_op() {
  static const OpSpec op =
      comparison("not_equal", "True where the elements differ.", "y = [a != b]", functions::NotEqual{});
  return op;
}
const OpSpec& less_equal_op() {
  static const OpSpec op =
      comparison("less_equal", "True where a is at most b.", "y = [a <= b]", functions::LessEqual{});
  return op;
}
const OpSpec& greater_equal_op() {
  static const OpSpec op =
      comparison("greater_equal", "True where a is at least b.", "y = [a >= b]", functions::GreaterEqual{});
  return op;
}

const OpSpec& where_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "where";
    spec.summary = "Chooses between two tensors, element by element, by a boolean one.";
    spec.math = "y = a where the condition holds, else b";
    spec.derivation = "y copies one of the two, so the cotangent goes to that one and 0 to the other.";
    spec.pitfalls = "A NaN in the branch not chosen does not come through here, but 0 times NaN does in a mask by product.";
    spec.inputs = {{.name = "condition", .differentiable = false}, {"a"}, {"b"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_dtype(0, DType::boolean);
      call.require_same_dtype(1, 2);
      return {{where_shape(call), call.input(1).dtype()}};
    };
    spec.saves = {.inputs = {0}};
    spec.reference = [](const OpCall& call) -> Tensors {
      const Shape shape = where_shape(call);
      const std::vector<double> condition = expanded(call.input(0), shape), b = expanded(call.input(2), shape);
      std::vector<double> a = expanded(call.input(1), shape);
      for (std::size_t i = 0; i < a.size(); ++i) a[i] = condition[i] != 0 ? a[i] : b[i];
      return {from_values(shape, a, call.input(1).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      visit_dtype(call.input(1).dtype(), [&]<class T>() {
        cpu::map_elements<T>(call.output(0), [](bool chosen, T a, T b) { return chosen ? a : b; }, cpu::Operand<bool>{call.input(0)},
                             cpu::Operand<T>{call.input(1)}, cpu::Operand<T>{call.input(2)});
      });
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor g = call.cotangent(), zero = zero_like(g);
      if (call.needs(1)) call.set_gradient(1, gradus::where(call.input(0), g, zero));
      if (call.needs(2)) call.set_gradient(2, gradus::where(call.input(0), zero, g));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"same shape", {make.booleans({3, 5}), make.normal({3, 5}), make.normal({3, 5})}, {}},
              {"row condition", {make.booleans({5}), make.normal({3, 1}), make.normal({3, 5})}, {}},
              {"scalar branch", {make.booleans({2, 3, 1}), make.normal({}), make.normal({3, 7})}, {}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.booleans({4}), make.values({4}, {nan, nan, inf, -0.0}), make.values({4}, {1, -inf, nan, nan})}, {}},
              {"empty", {make.booleans({0, 3}), make.normal({3}), make.normal({1, 3})}, {}}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"condition", {make.normal({2}), make.normal({2}), make.normal({2})}, {}, "condition must be bool, not f64"},
              {"shapes", {make.booleans({2}), make.normal({3}), make.normal({3})}, {}, "shapes do not broadcast: condition (2) bool cpu, a (3) f64 cpu"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 0.0; };
    spec.cost = moved_bytes;
    return spec;
  }();
  return op;
}

const OpSpec& masked_fill_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "masked_fill";
    spec.summary = "Writes a constant where a mask holds.";
    spec.math = "y = value where the mask holds, else x";
    spec.derivation = "Masked elements do not depend on x: their gradient is 0; the others have slope 1.";
    spec.pitfalls = "A mask that is true where attention is allowed, in place of where it is forbidden.";
    spec.inputs = {{"x"}, {.name = "mask", .differentiable = false}};
    spec.attributes = {{"value", 0.0, "the constant"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      call.require_dtype(1, DType::boolean);
      Shape shape;
      if (!broadcast_shapes(call.input(0).shape(), call.input(1).shape(), shape) || !(shape == call.input(0).shape())) {
        call.fail("the mask does not broadcast to x");
      }
      return {call.input(0).spec()};
    };
    spec.saves = {.inputs = {1}};
    spec.reference = [](const OpCall& call) -> Tensors {
      std::vector<double> x = call.input(0).to_vector<double>();
      const std::vector<double> mask = expanded(call.input(1), call.input(0).shape());
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = mask[i] != 0 ? call.number("value") : x[i];
      return {from_values(call.input(0).shape(), x, call.input(0).dtype())};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      visit_compute_dtype(call.input(0).dtype(), [&]<class T>() {
        const T value = T(call.number("value"));
        cpu::map_elements<T>(call.output(0), [value](T x, bool masked) { return masked ? value : x; }, cpu::Operand<T>{call.input(0)},
                             cpu::Operand<bool>{call.input(1)});
      });
    };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, masked_fill(call.cotangent(), call.input(1), 0));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"same shape", {make.normal({3, 5}), make.booleans({3, 5})}, {{"value", -1e10}}},
              {"row mask", {make.normal({2, 3, 5}), make.booleans({5})}, {{"value", 2.5}}},
              {"scalar mask", {make.normal({3}), make.booleans({})}, {{"value", 1.0}}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({4}, {nan, nan, inf, -0.0}), make.booleans({4})}, {{"value", -inf}}},
              {"empty", {make.normal({0, 3}), make.booleans({3})}, {}}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"mask shape", {make.normal({3}), make.booleans({2, 3})}, {}, "the mask does not broadcast to x: x (3) f64 cpu, mask (2,3) bool cpu"},
              {"mask dtype", {make.normal({3}), make.normal({3})}, {}, "mask must be bool, not f64"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 0.0; };
    spec.cost = moved_bytes;
    return spec;
  }();
  return op;
}

Tensor equal(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(equal_op(), {a, b}, {}, where)[0]; }
Tensor less(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(less_op(), {a, b}, {}, where)[0]; }
Tensor greater(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(greater_op(), {a, b}, {}, where)[0]; }
Tensor not_equal(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(not_equal_op(), {a, b}, {}, where)[0]; }
Tensor less_equal(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(less_equal_op(), {a, b}, {}, where)[0]; }
Tensor greater_equal(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(greater_equal_op(), {a, b}, {}, where)[0]; }
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b, SourceLocation where) {
  return apply(where_op(), {condition, a, b}, {}, where)[0];
}
Tensor masked_fill(const Tensor& x, const Tensor& mask, double value, SourceLocation where) {
  return apply(masked_fill_op(), {x, mask}, {{"value", value}}, where)[0];
}

}  // namespace gradus
