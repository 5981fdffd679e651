#include "framework/ops/unary.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "framework/kernels/cpu/bf16_table.h"
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

/// The gradient as a composite of ops, from the cotangent g, the input x and the output y (whichever the record saves).
using Gradient = std::function<Tensor(const Tensor& g, const Tensor& x, const Tensor& y, const Attributes&)>;
using Definition = std::function<double(double x, const Attributes&)>;

/// Whether bf16 values and slopes of a function are looked up.
template <class Function>
constexpr bool is_tabulated = false;
template <>
constexpr bool is_tabulated<functions::Log> = true;
template <>
constexpr bool is_tabulated<functions::Tanh> = true;
template <>
constexpr bool is_tabulated<functions::Sigmoid> = true;
template <>
constexpr bool is_tabulated<functions::Erf> = true;
template <>
constexpr bool is_tabulated<functions::Gelu> = true;
template <>
constexpr bool is_tabulated<functions::GeluTanh> = true;

template <class T, class Function>
void map_values(const Tensor& y, const Tensor& x, const Function& function) {
  if constexpr (std::is_same_v<T, bfloat16> && is_tabulated<Function>) {
    static const auto table = cpu::tabulate([](float x) { return Function{}.value(x); });
    cpu::map_elements<T>(
        y, [values = table.data()](T x) { return T(values[x.bits]); }, cpu::Operand<T>{x});
  } else {
    cpu::map_elements<T>(
        y, [function](T x) { return T(function.value(Arithmetic<T>(x))); }, cpu::Operand<T>{x});
  }
}

/// dx = g times the slope at `point`: the input or the output, whichever the derivative is a function of.
template <class T, class Function>
void map_slopes(const Tensor& dx, const Tensor& g, const Tensor& point, const Function& function) {
  using A = Arithmetic<T>;
  if constexpr (std::is_same_v<T, bfloat16> && is_tabulated<Function>) {
    static const auto table = cpu::tabulate([](float point) { return Function{}.derivative(point, point); });
    cpu::map_elements<T>(
        dx, [slopes = table.data()](T g, T point) { return T(float(g) * slopes[point.bits]); }, cpu::Operand<T>{g},
        cpu::Operand<T>{point});
  } else {
    cpu::map_elements<T>(
        dx, [function](T g, T point) { return T(A(g) * function.derivative(A(point), A(point))); }, cpu::Operand<T>{g},
        cpu::Operand<T>{point});
  }
}

/// Fills in what every one-operand record has in common. `make_function` builds the scalar function of
/// kernels/shared/scalar_functions.h from the attributes; `definition` is the same function in plain double.
template <class MakeFunction>
OpSpec unary_op(OpSpec spec, MakeFunction make_function, Definition definition, Gradient gradient) {
  spec.inputs = {{"x"}};
  const auto check_attributes = spec.infer;
  spec.infer = [check_attributes](const OpCall& call) -> std::vector<TensorSpec> {
    call.require_compute_dtype(0);
    if (check_attributes) check_attributes(call);
    return {call.input(0).spec()};
  };
  spec.reference = [definition](const OpCall& call) -> Tensors {
    std::vector<double> values = call.input(0).to_vector<double>();
    for (double& value : values) value = definition(value, call.attributes());
    return {from_values(call.input(0).shape(), values, call.input(0).dtype())};
  };
  spec.cpu.bf16 = true;
  spec.cpu.forward = [make_function](ForwardCall& call) {
    const auto function = make_function(call.attributes());
    visit_floating_dtype(call.input(0).dtype(),
                         [&]<class T>() { map_values<T>(call.output(0), call.input(0), function); });
  };
  spec.tangent = [make_function](const OpCall& call, const Tensors& tangents) -> Tensors {
    const auto function = make_function(call.attributes());
    std::vector<double> slopes = tangents[0].to_vector<double>();
    const std::vector<double> x = call.input(0).to_vector<double>();
    for (std::size_t i = 0; i < x.size(); ++i) slopes[i] = function.value(functions::Dual(x[i], slopes[i])).slope;
    return {from_values(call.input(0).shape(), slopes, call.input(0).dtype())};
  };
  const bool reads_input = !spec.saves.inputs.empty(), reads_output = !spec.saves.outputs.empty();
  spec.cpu.backward = [make_function, reads_input, reads_output](BackwardCall& call) {
    const auto function = make_function(call.attributes());
    const Tensor g = call.cotangent();
    const Tensor point = reads_input ? call.input(0) : reads_output ? call.output(0) : g;
    const Tensor gradient = Tensor::empty(g.shape(), g.dtype());
    visit_floating_dtype(g.dtype(), [&]<class T>() { map_slopes<T>(gradient, g, point, function); });
    call.set_gradient(0, gradient);
  };
  spec.backward_composite = [gradient, reads_input, reads_output](BackwardCall& call) {
    const Tensor x = reads_input ? call.input(0) : Tensor(), y = reads_output ? call.output(0) : Tensor();
    call.set_gradient(0, gradient(call.cotangent(), x, y, call.attributes()));
  };
  if (!spec.edge_samples) {
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({14}, {0, -0.0, 1e-30, -1e-30, 1e30, -1e30, inf, -inf, nan, 1, -1, 88, -88, 20})}, {}},
              {"empty", {make.normal({0, 3})}, {}},
              {"scalar", {make.normal({})}, {}}};
    };
  }
  if (!spec.error_samples) {
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"integers", {make.integers({2}, 0, 3)}, {}, "x must be f32, f64 or bf16, not i64: x (2) i64 cpu"}};
    };
  }
  if (!spec.cost) {
    spec.cost = [](const OpCall& call) -> Cost { return {8.0 * call.input(0).numel(), bytes_of_operands(call)}; };
  }
  return spec;
}

/// Samples drawn by `draw(make, shape)`.
template <class Draw>
std::function<std::vector<Sample>(SampleMaker&)> shape_samples(Draw draw, Attributes attributes = {}) {
  return [=](SampleMaker& make) -> std::vector<Sample> {
    return {{"matrix", {draw(make, Shape{3, 5})}, attributes},
            {"scalar", {draw(make, Shape{})}, attributes},
            {"primes", {draw(make, Shape{7, 1, 13})}, attributes},
            {"long", {draw(make, Shape{1021})}, attributes}};
  };
}

Tensor draw_normal(SampleMaker& make, const Shape& shape) { return make.uniform(shape, -3, 3); }
Tensor draw_positive(SampleMaker& make, const Shape& shape) { return make.uniform(shape, 0.3, 3); }
Tensor draw_away_from_zero(SampleMaker& make, const Shape& shape) { return make.away_from_multiples(shape, -3, 3, 10); }
Tensor draw_away_from_halves(SampleMaker& make, const Shape& shape) { return make.away_from_multiples(shape, -3, 3, 0.5); }

/// Decisions of a function of one element, by a small integer for the branch it takes.
template <class Branch>
std::function<std::uint64_t(const OpCall&)> branches(Branch branch) {
  return [branch](const OpCall& call) {
    const std::vector<double> x = call.input(0).to_vector<double>();
    return hash_decisions(static_cast<std::int64_t>(x.size()), [&](std::int64_t i) { return branch(x[i], call.attributes()); });
  };
}

/// For the error model: the largest term(x) of all elements.
template <class Term>
std::function<double(const OpCall&, const Tensors&)> largest_of(Term term) {
  return [term](const OpCall& call, const Tensors&) {
    double largest = 0;
    for (const double x : call.input(0).to_vector<double>()) largest = std::max(largest, std::fabs(term(x)));
    return largest;
  };
}

/// A number to compare x with.
Tensor bound(double value, const Tensor& x) { return scalar(value, x.dtype(), x.device()); }

/// 1 where the condition holds, else 0, as a constant like x.
Tensor indicator(const Tensor& condition, const Tensor& x) { return cast(condition, x.dtype()); }

}  // namespace

const OpSpec& neg_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "neg";
    spec.summary = "Changes the sign of every element.";
    spec.math = "y = -x";
    spec.derivation = "dy/dx = -1.";
    spec.samples = shape_samples(draw_normal);
    return unary_op(std::move(spec), [](const Attributes&) { return functions::Neg{}; },
                    [](double x, const Attributes&) { return -x; },
                    [](const Tensor& g, const Tensor&, const Tensor&, const Attributes&) { return -g; });
  }();
  return op;
}

const OpSpec& exp_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "exp";
    spec.summary = "The exponential function of every element.";
    spec.math = "y = e^x";
    spec.derivation = "dy/dx = e^x = y: the output is all that backward needs.";
    spec.pitfalls = "Overflow to infinity above 88.7 in f32 and 709.8 in f64.";
    spec.saves = {.outputs = {0}};
    spec.samples = shape_samples(draw_normal);
    return unary_op(std::move(spec), [](const Attributes&) { return functions::Exp{}; },
                    [](double x, const Attributes&) { return std::exp(x); },
                    [](const Tensor& g, const Tensor&, const Tensor& y, const Attributes&) { return g * y; });
  }();
  return op;
}

const OpSpec& log_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "log";
    spec.summary = "The natural logarithm of every element.";
    spec.math = "y = ln x";
    spec.derivation = "dy/dx = 1/x.";
    spec.pitfalls = "At 0 the value is -inf and the slope inf; below 0 both are NaN.";
    spec.saves = {.inputs = {0}};
    spec.samples = shape_samples(draw_positive);
    return unary_op(std::move(spec), [](const Attributes&) { return functions::Log{}; },
                    [](double x, const Attributes&) { return std::log(x); },
                    [](const Tensor& g, const Tensor& x, const Tensor&, const Attributes&) { return g / x; });
  }();
  return op;
}

const OpSpec& sqrt_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "sqrt";
    spec.summary = "The square root of every element.";
    spec.math = "y = sqrt(x)";
    spec.derivation = "y^2 = x, so 2 y dy/dx = 1 and dy/dx = 1/(2y).";
    spec.pitfalls = "The slope at 0 is infinite: add a small number under the root of a norm.";
    spec.saves = {.outputs = {0}};
    spec.samples = shape_samples(draw_positive);
    return unary_op(std::move(spec), [](const Attributes&) { return functions::Sqrt{}; },
                    [](double x, const Attributes&) { return std::sqrt(x); },
                    [](const Tensor& g, const Tensor&, const Tensor& y, const Attributes&) { return 0.5 * g / y; });
  }();
  return op;
}

const OpSpec& tanh_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "tanh";
    spec.summary = "The hyperbolic tangent of every element.";
    spec.math = "y = (e^x - e^-x) / (e^x + e^-x)";
    spec.derivation = "Quotient rule: dy/dx = 1 - y^2 = (2 e / (1 + e^2))^2 with e = e^-|x|.";
    spec.pitfalls = "1 - y^2 cancels: in f32 it is 0 from x = 9.1 on, where the slope is 5e-8. The second form, of the "
                    "input, is right to a few roundings everywhere.";
    spec.saves = {.inputs = {0}};
    spec.samples = shape_samples(draw_normal);
    return unary_op(std::move(spec), [](const Attributes&) { return functions::Tanh{}; },
                    [](double x, const Attributes&) { return std::tanh(x); },
                    [](const Tensor& g, const Tensor& x, const Tensor&, const Attributes&) {
                      return g * (4.0 * sigmoid(2.0 * x) * sigmoid(-2.0 * x));
                    });
  }();
  return op;
}

const OpSpec& sigmoid_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "sigmoid";
    spec.summary = "The logistic function of every element.";
    spec.math = "y = 1 / (1 + e^-x)";
    spec.derivation = "dy/dx = y (1 - y) = e / (1 + e)^2 with e = e^-|x|.";
    spec.pitfalls = "y (1 - y) cancels: in f32 it is 0 from x = 16.7 on, where the slope is 6e-8. The second form, of the "
                    "input, is right to a few roundings everywhere.";
    spec.saves = {.inputs = {0}};
    spec.samples = shape_samples(draw_normal);
    return unary_op(std::move(spec), [](const Attributes&) { return functions::Sigmoid{}; },
                    [](double x, const Attributes&) { return 1 / (1 + std::exp(-x)); },
                    [](const Tensor& g, const Tensor& x, const Tensor&, const Attributes&) {
                      return g * (sigmoid(x) * sigmoid(-x));
                    });
  }();
  return op;
}

const OpSpec& relu_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "relu";
    spec.summary = "Sets negative elements to 0.";
    spec.math = "y = max(x, 0)";
    spec.derivation = "dy/dx = 1 where x > 0, else 0.";
    spec.pitfalls = "Letting the gradient pass where x is negative.";
    spec.subgradient = "The slope at 0 is 0.";
    spec.decisions = branches([](double x, const Attributes&) { return x > 0 ? 1 : x < 0 ? 2 : 3; });
    spec.saves = {.inputs = {0}};
    spec.samples = [](SampleMaker& make) {
      std::vector<Sample> samples = shape_samples(draw_away_from_zero)(make);
      samples[1].inputs[0] = make.values({}, {0.75});  // nothing moves at a negative number alone
      return samples;
    };
    return unary_op(
        std::move(spec), [](const Attributes&) { return functions::Relu{}; },
        [](double x, const Attributes&) { return x < 0 ? 0 : x; },
        [](const Tensor& g, const Tensor& x, const Tensor&, const Attributes&) {
          return g * indicator(greater(x, bound(0, x)), x);
        });
  }();
  return op;
}

const OpSpec& abs_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "abs";
    spec.summary = "The magnitude of every element.";
    spec.math = "y = |x|";
    spec.derivation = "dy/dx = 1 where x > 0 and -1 where x < 0.";
    spec.subgradient = "The slope at 0 is 0.";
    spec.decisions = branches([](double x, const Attributes&) { return x > 0 ? 1 : x < 0 ? 2 : 3; });
    spec.saves = {.inputs = {0}};
    spec.samples = shape_samples(draw_away_from_zero);
    return unary_op(
        std::move(spec), [](const Attributes&) { return functions::Abs{}; },
        [](double x, const Attributes&) { return std::fabs(x); },
        [](const Tensor& g, const Tensor& x, const Tensor&, const Attributes&) {
          return g * (indicator(greater(x, bound(0, x)), x) - indicator(less(x, bound(0, x)), x));
        });
  }();
  return op;
}

const OpSpec& erf_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "erf";
    spec.summary = "The error function of every element.";
    spec.math = "y = 2/sqrt(pi) * integral from 0 to x of e^(-t^2) dt";
    spec.derivation = "The integrand at x: dy/dx = 2/sqrt(pi) e^(-x^2).";
    spec.saves = {.inputs = {0}};
    spec.samples = shape_samples(draw_normal);
    return unary_op(std::move(spec), [](const Attributes&) { return functions::Erf{}; },
                    [](double x, const Attributes&) { return std::erf(x); },
                    [](const Tensor& g, const Tensor& x, const Tensor&, const Attributes&) { return g * (2 * std::numbers::inv_sqrtpi) * exp(-(x * x)); });
  }();
  return op;
}

const OpSpec& gelu_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "gelu";
    spec.summary = "Gaussian error linear unit, exact: x times the normal distribution function of x.";
    spec.math = "y = x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2";
    spec.derivation = "Product rule, with Phi' = phi, the normal density: dy/dx = Phi(x) + x phi(x).";
    spec.source = "Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2";
    spec.pitfalls = "Leaving out the second term; mixing the erf and the tanh form between forward and backward.";
    spec.saves = {.inputs = {0}};
    // A rounding error of x, relative, is one of |x| phi in Phi: far left, more than Phi itself.
    spec.error_model.magnitude =
        largest_of([](double x) { return x * (functions::normal_cdf(x) + std::fabs(x) * functions::normal_pdf(x)); });
    spec.samples = shape_samples(draw_normal);
    return unary_op(
        std::move(spec), [](const Attributes&) { return functions::Gelu{}; },
        [](double x, const Attributes&) { return x == -inf ? 0.0 : 0.5 * x * std::erfc(-x / std::numbers::sqrt2); },
        [](const Tensor& g, const Tensor& x, const Tensor&, const Attributes&) {
          const Tensor cdf = 0.5 * (1.0 + erf(x * (1 / std::numbers::sqrt2)));
          const Tensor pdf = (std::numbers::inv_sqrtpi / std::numbers::sqrt2) * exp(-0.5 * x * x);
          return g * (cdf + x * pdf);
        });
  }();
  return op;
}

const OpSpec& gelu_tanh_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "gelu_tanh";
    spec.summary = "Gaussian error linear unit in its tanh approximation, as GPT-2 used it.";
    spec.math = "y = x (1 + tanh u) / 2, u = sqrt(2/pi) (x + 0.044715 x^3)";
    spec.derivation = "(1 + tanh u)/2 = p(2u), p the sigmoid, so y = x p(2u), and dy/dx = p(2u) + x p'(2u) 2u' with "
                      "u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2).";
    spec.source = "Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2";
    spec.pitfalls = "The factor 3 of the cubic term. Left of 0, 1 + tanh u cancels: in f32 it is 0 from x = -5.2 on.";
    spec.saves = {.inputs = {0}};
    // As for gelu: a rounding error of 2u, relative, is one of |2u| p' in p.
    spec.error_model.magnitude = largest_of([](double x) {
      const double v = functions::GeluTanh::twice_u(x);
      return x * (functions::sigmoid(v) + std::fabs(v) * functions::sigmoid_slope(v));
    });
    spec.samples = shape_samples(draw_normal);
    return unary_op(
        std::move(spec), [](const Attributes&) { return functions::GeluTanh{}; },
        [](double x, const Attributes&) {
          return x == -inf ? 0.0 : x / (1 + std::exp(-functions::GeluTanh::s * (x + 0.044715 * x * x * x)));
        },
        [](const Tensor& g, const Tensor& x, const Tensor&, const Attributes&) {
          const double s = functions::GeluTanh::s;
          const Tensor v = s * (x + 0.044715 * x * x * x), p = sigmoid(v);
          return g * (p + x * (p * sigmoid(-v)) * (s * (1.0 + 3 * 0.044715 * x * x)));
        });
  }();
  return op;
}

const OpSpec& pow_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "pow";
    spec.summary = "Raises every element to a constant power.";
    spec.math = "y = x^p";
    spec.derivation = "dy/dx = p x^(p-1).";
    spec.pitfalls = "Negative bases have real powers only for whole exponents; others give NaN.";
    spec.attributes = {{"exponent", 2.0, "the power p"}};
    spec.saves = {.inputs = {0}};
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"square", {make.uniform({3, 5}, -3, 3)}, {{"exponent", 2.0}}},
              {"cube", {make.uniform({7}, -3, 3)}, {{"exponent", 3.0}}},
              {"root", {make.uniform({5, 3}, 0.3, 3)}, {{"exponent", 0.5}}},
              {"inverse", {make.uniform({11}, 0.3, 3)}, {{"exponent", -1.0}}},
              {"zeroth", {make.uniform({3}, 0.3, 3)}, {{"exponent", 0.0}}}};
    };
    return unary_op(
        std::move(spec), [](const Attributes& attributes) { return functions::Pow{attributes.number("exponent")}; },
        [](double x, const Attributes& attributes) { return std::pow(x, attributes.number("exponent")); },
        [](const Tensor& g, const Tensor& x, const Tensor&, const Attributes& attributes) {
          const double p = attributes.number("exponent");
          return p == 0 ? g * 0.0 : g * p * pow(x, p - 1);
        });
  }();
  return op;
}

const OpSpec& clamp_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "clamp";
    spec.summary = "Limits every element to an interval.";
    spec.math = "y = min(max(x, low), high)";
    spec.derivation = "dy/dx = 1 inside the interval, 0 outside.";
    spec.subgradient = "At both ends the slope is 1.";
    spec.decisions = branches([](double x, const Attributes& attributes) {
      const double low = attributes.number("low"), high = attributes.number("high");
      return x < low ? 1 : x == low ? 2 : x < high ? 3 : x == high ? 4 : 5;
    });
    spec.pitfalls = "A clamped element gets no gradient and may never come back.";
    spec.attributes = {{"low", -inf, "lower end"}, {"high", inf, "upper end"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      if (!(call.number("low") <= call.number("high"))) call.fail("low must not exceed high");
      return {};
    };
    spec.saves = {.inputs = {0}};
    spec.samples = shape_samples(draw_away_from_halves, {{"low", -1.0}, {"high", 1.5}});
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"empty interval", {make.normal({2})}, {{"low", 2.0}, {"high", 1.0}}, "low must not exceed high: x (2) f64 cpu, low=2, high=1"}};
    };
    return unary_op(
        std::move(spec),
        [](const Attributes& attributes) { return functions::Clamp{attributes.number("low"), attributes.number("high")}; },
        [](double x, const Attributes& attributes) {
          return x < attributes.number("low") ? attributes.number("low") : x > attributes.number("high") ? attributes.number("high") : x;
        },
        [](const Tensor& g, const Tensor& x, const Tensor&, const Attributes& attributes) {
          const double low = attributes.number("low"), high = attributes.number("high");
          return g * indicator(greater_equal(x, bound(low, x)), x) * indicator(less_equal(x, bound(high, x)), x);
        });
  }();
  return op;
}

Tensor neg(const Tensor& x, SourceLocation where) { return apply(neg_op(), {x}, {}, where)[0]; }
Tensor exp(const Tensor& x, SourceLocation where) { return apply(exp_op(), {x}, {}, where)[0]; }
Tensor log(const Tensor& x, SourceLocation where) { return apply(log_op(), {x}, {}, where)[0]; }
Tensor sqrt(const Tensor& x, SourceLocation where) { return apply(sqrt_op(), {x}, {}, where)[0]; }
Tensor tanh(const Tensor& x, SourceLocation where) { return apply(tanh_op(), {x}, {}, where)[0]; }
Tensor sigmoid(const Tensor& x, SourceLocation where) { return apply(sigmoid_op(), {x}, {}, where)[0]; }
Tensor relu(const Tensor& x, SourceLocation where) { return apply(relu_op(), {x}, {}, where)[0]; }
Tensor abs(const Tensor& x, SourceLocation where) { return apply(abs_op(), {x}, {}, where)[0]; }
Tensor erf(const Tensor& x, SourceLocation where) { return apply(erf_op(), {x}, {}, where)[0]; }
Tensor gelu(const Tensor& x, SourceLocation where) { return apply(gelu_op(), {x}, {}, where)[0]; }
Tensor gelu_tanh(const Tensor& x, SourceLocation where) { return apply(gelu_tanh_op(), {x}, {}, where)[0]; }
Tensor pow(const Tensor& x, double exponent, SourceLocation where) {
  return apply(pow_op(), {x}, {{"exponent", exponent}}, where)[0];
}
Tensor clamp(const Tensor& x, double low, double high, SourceLocation where) {
  return apply(clamp_op(), {x}, {{"low", low}, {"high", high}}, where)[0];
}

}  // namespace gradus
