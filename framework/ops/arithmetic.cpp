#include "framework/ops/arithmetic.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/elementwise.h"
#include "framework/kernels/shared/dual.h"
#include "framework/kernels/shared/scalar_functions.h"
#include "framework/ops/cost.h"
#include "framework/ops/decisions.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Shape broadcast_shape(const OpCall& call) {
  Shape shape;
  broadcast_shapes(call.input(0).shape(), call.input(1).shape(), shape);
  return shape;
}

/// Values of x repeated to `shape`; zeros for an undefined tensor.
std::vector<double> expanded(const Tensor& x, const Shape& shape) {
  if (!x.defined()) return std::vector<double>(shape.numel(), 0.0);
  return x.window(shape, broadcast_strides(x, shape), x.offset()).to_vector<double>();
}

/// What every two-operand record has in common; `function` is the op on two numbers of one type.
template <class F>
OpSpec binary_op(OpSpec spec, F function) {
  spec.inputs = {{"a"}, {"b"}};
  spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
    call.require_compute_dtype(0);
    call.require_same_dtype(0, 1);
    Shape shape;
    if (!broadcast_shapes(call.input(0).shape(), call.input(1).shape(), shape)) call.fail("shapes do not broadcast");
    return {{shape, call.input(0).dtype()}};
  };
  spec.reference = [function](const OpCall& call) -> Tensors {
    const Shape shape = broadcast_shape(call);
    std::vector<double> a = expanded(call.input(0), shape);
    const std::vector<double> b = expanded(call.input(1), shape);
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = function(a[i], b[i]);
    return {from_values(shape, a, call.input(0).dtype())};
  };
  spec.tangent = [function](const OpCall& call, const Tensors& tangents) -> Tensors {
    const Shape shape = broadcast_shape(call);
    const std::vector<double> a = expanded(call.input(0), shape), b = expanded(call.input(1), shape);
    const std::vector<double> along_a = expanded(tangents[0], shape), along_b = expanded(tangents[1], shape);
    std::vector<double> slopes(a.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      slopes[i] = function(functions::Dual(a[i], along_a[i]), functions::Dual(b[i], along_b[i])).slope;
    }
    return {from_values(shape, slopes, call.input(0).dtype())};
  };
  spec.cpu.bf16 = true;
  spec.cpu.forward = [function](ForwardCall& call) {
    visit_floating_dtype(call.input(0).dtype(), [&]<class T>() {
      using A = Arithmetic<T>;
      const auto rounded = [function](T a, T b) { return T(function(A(a), A(b))); };
      cpu::map_elements<T>(call.output(0), rounded, cpu::Operand<T>{call.input(0)}, cpu::Operand<T>{call.input(1)});
    });
  };
  spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
    const std::vector<double> a = {0, -0.0, 1e-300, 1e300, inf, -inf, nan, 2, inf, 0, 3, -1};
    const std::vector<double> b = {0, 3, 1e-300, 1e300, -inf, -inf, 1, nan, inf, -0.0, 3, 0};
    return {{"special values", {make.values({12}, a), make.values({12}, b)}, {}},
            {"empty", {make.normal({0, 3}), make.normal({1, 3})}, {}},
            {"scalars", {make.normal({}), make.normal({})}, {}}};
  };
  spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
    return {{"shapes",
             {make.normal({2, 3}), make.normal({2, 4})},
             {},
             "shapes do not broadcast: a (2,3) f64 cpu, b (2,4) f64 cpu"},
            {"dtypes", {make.normal({2}), make.integers({2}, 0, 3)}, {}, "dtypes differ"},
            {"integers", {make.integers({2}, 0, 3), make.integers({2}, 0, 3)}, {}, "must be f32, f64 or bf16"}};
  };
  spec.cost = [](const OpCall& call) -> Cost {
    Shape shape;
    broadcast_shapes(call.input(0).shape(), call.input(1).shape(), shape);
    return {double(shape.numel()), bytes_of_operands(call)};
  };
  return spec;
}

/// Shapes in which each operand is the broadcast one, from `draw_a` and `draw_b`.
template <class DrawA, class DrawB>
std::function<std::vector<Sample>(SampleMaker&)> broadcast_samples(DrawA draw_a, DrawB draw_b) {
  return [=](SampleMaker& make) -> std::vector<Sample> {
    return {{"same shape", {draw_a(make, Shape{3, 5}), draw_b(make, Shape{3, 5})}, {}},
            {"row and matrix", {draw_a(make, Shape{5}), draw_b(make, Shape{3, 5})}, {}},
            {"matrix and column", {draw_a(make, Shape{3, 5}), draw_b(make, Shape{3, 1})}, {}},
            {"column and row", {draw_a(make, Shape{3, 1}), draw_b(make, Shape{1, 7})}, {}},
            {"scalar", {draw_a(make, Shape{2, 3}), draw_b(make, Shape{})}, {}},
            {"middle axis", {draw_a(make, Shape{2, 1, 3}), draw_b(make, Shape{4, 1})}, {}},
            {"primes", {draw_a(make, Shape{7, 11, 13}), draw_b(make, Shape{11, 1})}, {}}};
  };
}

Tensor draw_normal(SampleMaker& make, const Shape& shape) { return make.normal(shape); }
/// Away from 0 on both sides, as a divisor.
Tensor draw_divisor(SampleMaker& make, const Shape& shape) { return make.away_from_multiples(shape, -2, 2, 8, 0.3); }
/// The two operands of maximum never come closer than 0.1: multiples of 1 on one side, halves on the other.
Tensor draw_whole(SampleMaker& make, const Shape& shape) {
  std::vector<double> values(shape.numel());
  StreamReader reader(make.generator().seed(), make.generator().take_stream());
  for (double& value : values) value = reader.next_integer(-3, 3) + 0.2 * reader.next_uniform();
  return make.values(shape, values);
}
Tensor draw_half(SampleMaker& make, const Shape& shape) {
  std::vector<double> values(shape.numel());
  StreamReader reader(make.generator().seed(), make.generator().take_stream());
  for (double& value : values) value = reader.next_integer(-3, 3) + 0.5 + 0.2 * reader.next_uniform();
  return make.values(shape, values);
}

/// Backward of maximum and minimum: 1 for the winner, 1/2 each at a tie. Beside a NaN it goes to b, or for minimum to a.
void choose_backward(BackwardCall& call, bool larger) {
  const Tensor a = call.input(0).detach(), b = call.input(1).detach(), g = call.cotangent();
  const Tensor is_larger = cast(greater(a, b), g.dtype()), wins = larger ? is_larger : 1.0 - is_larger;
  const Tensor share = where(equal(a, b), scalar(0.5, g.dtype(), g.device()), wins);  // of a
  if (call.needs(0)) call.set_gradient(0, g * share);
  if (call.needs(1)) call.set_gradient(1, g * (1.0 - share));
}

std::uint64_t which_is_larger(const OpCall& call) {
  const std::vector<double> difference = sub(call.input(0), call.input(1)).to_vector<double>();
  return hash_decisions(static_cast<std::int64_t>(difference.size()), [&](std::int64_t i) { return difference[i] > 0 ? 1 : difference[i] < 0 ? 2 : 3; });
}

}  // namespace

const OpSpec& add_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "add";
    spec.summary = "Sum of two tensors, element by element, with broadcasting.";
    spec.math = "y = a + b";
    spec.derivation = "dy/da = 1 and dy/db = 1: the cotangent goes to both. Where an operand was stretched, it was used "
                      "several times, so its gradient is the sum over the stretched axes.";
    spec.pitfalls = "A missing sum over the broadcast axis; a mean in its place.";
    spec.cpu.backward = [](BackwardCall& call) {
      if (call.needs(0)) call.set_gradient(0, call.cotangent());
      if (call.needs(1)) call.set_gradient(1, call.cotangent());
    };
    spec.backward_composite = spec.cpu.backward;
    spec.samples = broadcast_samples(draw_normal, draw_normal);
    return binary_op(std::move(spec), functions::Add{});
  }();
  return op;
}

const OpSpec& sub_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "sub";
    spec.summary = "Difference of two tensors, element by element, with broadcasting.";
    spec.math = "y = a - b";
    spec.derivation = "dy/da = 1, dy/db = -1.";
    spec.pitfalls = "The sign of the second gradient.";
    spec.backward_composite = [](BackwardCall& call) {
      if (call.needs(0)) call.set_gradient(0, call.cotangent());
      if (call.needs(1)) call.set_gradient(1, neg(call.cotangent()));
    };
    spec.samples = broadcast_samples(draw_normal, draw_normal);
    return binary_op(std::move(spec), functions::Subtract{});
  }();
  return op;
}

const OpSpec& mul_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "mul";
    spec.summary = "Product of two tensors, element by element, with broadcasting.";
    spec.math = "y = a b";
    spec.derivation = "dy/da = b and dy/db = a, so the gradients are g b and g a.";
    spec.pitfalls = "Operands swapped; for mul(x, x) one of the two uses forgotten.";
    spec.saves = {.inputs = {0, 1}};
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor g = call.cotangent();
      if (call.needs(0)) call.set_gradient(0, g * call.input(1));
      if (call.needs(1)) call.set_gradient(1, g * call.input(0));
    };
    spec.samples = broadcast_samples(draw_normal, draw_normal);
    return binary_op(std::move(spec), functions::Multiply{});
  }();
  return op;
}

const OpSpec& div_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "div";
    spec.summary = "Quotient of two tensors, element by element, with broadcasting.";
    spec.math = "y = a / b";
    spec.derivation = "dy/da = 1/b; dy/db = -a/b^2 = -y/b.";
    spec.pitfalls = "Division by zero gives infinity and NaN as IEEE arithmetic has them, forward and backward.";
    spec.saves = {.inputs = {0, 1}};
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor b = call.input(1), ga = call.cotangent() / b;
      if (call.needs(0)) call.set_gradient(0, ga);
      if (call.needs(1)) call.set_gradient(1, neg(ga * call.input(0) / b));
    };
    spec.samples = broadcast_samples(draw_normal, draw_divisor);
    return binary_op(std::move(spec), functions::Divide{});
  }();
  return op;
}

const OpSpec& maximum_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "maximum";
    spec.summary = "The larger of each pair of elements, with broadcasting.";
    spec.math = "y = max(a, b)";
    spec.derivation = "Where a > b, y = a: the gradient goes to a; where b > a, to b.";
    spec.pitfalls = "Ties: giving the whole gradient to both counts it twice.";
    spec.subgradient = "At a = b each gets half.";
    spec.decisions = which_is_larger;
    spec.saves = {.inputs = {0, 1}};
    spec.backward_composite = [](BackwardCall& call) { choose_backward(call, true); };
    spec.samples = broadcast_samples(draw_whole, draw_half);
    return binary_op(std::move(spec), functions::Maximum{});
  }();
  return op;
}

const OpSpec& minimum_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "minimum";
    spec.summary = "The smaller of each pair of elements, with broadcasting.";
    spec.math = "y = min(a, b)";
    spec.derivation = "Where a < b, y = a: the gradient goes to a; where b < a, to b.";
    spec.pitfalls = "Ties: giving the whole gradient to both counts it twice.";
    spec.subgradient = "At a = b each gets half.";
    spec.decisions = which_is_larger;
    spec.saves = {.inputs = {0, 1}};
    spec.backward_composite = [](BackwardCall& call) { choose_backward(call, false); };
    spec.samples = broadcast_samples(draw_whole, draw_half);
    return binary_op(std::move(spec), functions::Minimum{});
  }();
  return op;
}

Tensor scalar_like(const Tensor& x, double number) {
  return x.defined() ? scalar(number, x.dtype(), x.device()) : Tensor();
}

Tensor add(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(add_op(), {a, b}, {}, where)[0]; }
Tensor sub(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(sub_op(), {a, b}, {}, where)[0]; }
Tensor mul(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(mul_op(), {a, b}, {}, where)[0]; }
Tensor div(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(div_op(), {a, b}, {}, where)[0]; }
Tensor maximum(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(maximum_op(), {a, b}, {}, where)[0]; }
Tensor minimum(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(minimum_op(), {a, b}, {}, where)[0]; }

}  // namespace gradus
