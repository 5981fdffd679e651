#include "framework/ops/optimizer_steps.h"

#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/elementwise.h"
#include "framework/kernels/cpu/reduce.h"
#include "framework/kernels/elements.h"
#include "framework/kernels/shared/adamw_step.h"
#include "framework/kernels/shared/row_unit.h"
#include "framework/ops/cost.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

constexpr double smaller_unit = RowUnits<double>::smaller;

/// Elements of all inputs together.
double total_elements(const OpCall& call) {
  double total = 0;
  for (const Tensor& input : call.inputs()) total += input.numel();
  return total;
}

/// sqrt(sum of all squares), by the sum of squares of everything times a unit. In f64 squares may overflow where the norm
/// does not: then they are taken in a smaller unit.
template <class Squares>
double norm_by(const Squares& squares_in) {
  const double squares = squares_in(1.0);
  return std::isfinite(squares) ? std::sqrt(squares) : std::sqrt(squares_in(smaller_unit)) / smaller_unit;
}

/// Optional inputs of adamw.
constexpr std::size_t factors_input = 4, if_finite_input = 5;

AdamWStep step_of(const OpCall& call) {
  if (!call.has_input(factors_input)) {
    return adamw_step(call.number("beta1"), call.number("beta2"), call.number("learning_rate"), call.integer("step"));
  }
  const std::vector<double> factors = call.input(factors_input).to_vector<double>();
  return {factors[0], factors[1], factors[2]};
}

bool may_update(const OpCall& call) {
  return !call.has_input(if_finite_input) || std::isfinite(call.input(if_finite_input).to_vector<double>()[0]);
}

}  // namespace

const OpSpec& clip_by_global_norm_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "clip_by_global_norm";
    spec.summary = "Scales gradients in place so that their common norm does not exceed a bound; gives the norm before.";
    spec.math = "norm = sqrt(sum of all squares), g <- g min(1, max_norm / (norm + 1e-6))";
    spec.source = "Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, algorithm 1";
    spec.pitfalls = "Clipping each tensor by its own norm changes the direction of the step.";
    spec.inputs = {{.name = "gradients", .differentiable = false, .variadic = true}};
    spec.outputs = {"clipped"};
    spec.attributes = {{"max_norm", 1.0, "the bound; positive"}};
    spec.mutates = {0};
    spec.infer = [](const OpCall& call) {
      if (call.inputs().empty()) call.fail("there are no gradients");
      if (!(call.number("max_norm") > 0)) call.fail("max_norm must be positive");
      std::vector<TensorSpec> outputs;
      for (std::size_t i = 0; i < call.inputs().size(); ++i) {
        call.require_compute_dtype(i);
        call.require_same_dtype(0, i);
        outputs.push_back(call.input(i).spec());
      }
      outputs.push_back({{}, call.input(0).dtype()});
      return outputs;
    };
    spec.reference = [](const OpCall& call) {
      const double norm = norm_by([&](double unit) {
        double squares = 0;
        for (const Tensor& gradient : call.inputs()) {
          for (double value : gradient.to_vector<double>()) squares += (value * unit) * (value * unit);
        }
        return squares;
      });
      const double factor = call.number("max_norm") / (norm + 1e-6);
      Tensors outputs;
      for (const Tensor& gradient : call.inputs()) {
        std::vector<double> values = gradient.to_vector<double>();
        for (double& value : values) value *= factor < 1 ? factor : 1;
        outputs.push_back(from_values(gradient.shape(), values, gradient.dtype()));
      }
      outputs.push_back(scalar(norm, call.input(0).dtype()));
      return outputs;
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const double norm = norm_by([&](double unit) {
        double squares = 0;
        for (const Tensor& gradient : call.inputs()) squares += cpu::sum_of_squares(gradient, unit);
        return squares;
      });
      const double factor = call.number("max_norm") / (norm + 1e-6);
      for (std::size_t i = 0; i < call.inputs().size(); ++i) {
        const Tensor& gradient = call.input(i);
        if (factor < 1) {
          visit_compute_dtype(gradient.dtype(), [&]<class T>() {
            cpu::map_elements<T>(gradient, [factor](T value) { return value * T(factor); }, cpu::Operand<T>{gradient});
          });
        }
        call.set_output(i, gradient);
      }
      call.set_output(call.inputs().size(), scalar(norm, call.input(0).dtype()));
    };
    const auto bound = [](double max_norm) { return Attributes{{"max_norm", max_norm}}; };
    spec.samples = [bound](SampleMaker& make) -> std::vector<Sample> {
      return {{"clips", {make.normal({3, 5}), make.normal({7})}, bound(1)},
              {"leaves small ones", {make.uniform({3}, -0.1, 0.1), make.uniform({2, 2}, -0.1, 0.1)}, bound(1)},
              {"long", {make.normal({40009}), make.normal({})}, bound(0.5)}};
    };
    spec.edge_samples = [bound](SampleMaker& make) -> std::vector<Sample> {
      return {{"zeros", {make.values({3}, {0, -0.0, 0})}, bound(1)},
              {"empty", {make.normal({0}), make.normal({2})}, bound(1)},
              {"squares overflow", {make.values({2}, {3e200, -4e200}), make.values({1}, {0})}, bound(1)},
              {"not a number", {make.values({2}, {NAN, 1})}, bound(1)}};
    };
    spec.error_samples = [bound](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"bound", {make.normal({2})}, bound(0), "max_norm must be positive: gradients[0] (2) f64 cpu, max_norm=0"},
              {"nothing", {}, bound(1), "there are no gradients"}};
    };
    spec.error_model.roundings = [](const OpCall& call) { return std::sqrt(total_elements(call)) + 8; };
    spec.cost = [](const OpCall& call) -> Cost {
      // The gradients are read for the norm, and again to be scaled by it.
      const double read_first = total_elements(call) * size_in_bytes(call.input(0).dtype());
      return {3 * total_elements(call), read_first + bytes_of_operands(call)};
    };
    return spec;
  }();
  return op;
}

const OpSpec& adamw_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "adamw";
    spec.summary = "One AdamW update of a parameter and its two moments, in place.";
    spec.math =
        "m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; "
        "w <- (1 - lr decay) w - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon); with `factors`: "
        "(lr, lr / (1 - b1^t), 1 / sqrt(1 - b2^t)), in place of lr and t; with `if_finite`: nothing changes where it "
        "is not";
    spec.source = "Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2; Kingma and Ba 2015, arXiv:1412.6980";
    spec.pitfalls = "Adding the decay to the gradient (then the second moment divides it); epsilon inside the root.";
    spec.inputs = {{.name = "parameter", .differentiable = false},
                   {.name = "gradient", .differentiable = false},
                   {.name = "first_moment", .differentiable = false},
                   {.name = "second_moment", .differentiable = false},
                   {.name = "factors", .differentiable = false, .optional = true},
                   {.name = "if_finite", .differentiable = false, .optional = true}};
    spec.outputs = {"parameter", "first_moment", "second_moment"};
    spec.attributes = {{"learning_rate", 1e-3, "lr"}, {"beta1", 0.9, "b1"}, {"beta2", 0.95, "b2"}, {"epsilon", 1e-8, "epsilon"},
                       {"weight_decay", 0.0, "decay"}, {"step", std::int64_t{1}, "t, from 1"}};
    spec.mutates = {0, 2, 3};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      for (std::size_t i = 1; i < 4; ++i) {
        call.require_same_dtype(0, i);
        if (!(call.input(i).shape() == call.input(0).shape())) call.fail("{} must have the parameter's shape", call.input_name(i));
      }
      if (call.integer("step") < 1) call.fail("step counts from 1");
      if (call.has_input(factors_input)) {
        call.require_compute_dtype(factors_input);
        if (!(call.input(factors_input).shape() == Shape{3})) call.fail("factors must be three");
        if (!call.input(factors_input).is_contiguous()) call.fail("factors must be contiguous");
      }
      if (call.has_input(if_finite_input)) {
        call.require_same_dtype(0, if_finite_input);
        if (call.input(if_finite_input).numel() != 1) call.fail("if_finite must be one number");
      }
      return {call.input(0).spec(), call.input(2).spec(), call.input(3).spec()};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      std::vector<double> w = call.input(0).to_vector<double>(), m = call.input(2).to_vector<double>(), v = call.input(3).to_vector<double>();
      const std::vector<double> g = call.input(1).to_vector<double>();
      const double b1 = call.number("beta1"), b2 = call.number("beta2");
      const auto [lr, rate, root] = step_of(call);
      for (std::size_t i = 0; i < w.size() && may_update(call); ++i) {
        m[i] = b1 * m[i] + (1 - b1) * g[i];
        v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
        w[i] = (1 - lr * call.number("weight_decay")) * w[i] -
               rate * m[i] / (std::sqrt(v[i]) * root + call.number("epsilon"));
      }
      const TensorSpec spec = call.input(0).spec();
      return {from_values(spec.shape, w, spec.dtype), from_values(spec.shape, m, spec.dtype), from_values(spec.shape, v, spec.dtype)};
    };
    spec.cpu.forward = [](ForwardCall& call) {
      for (std::size_t i : {0, 2, 3}) {
        if (!call.input(i).is_contiguous()) call.fail("{} must be contiguous", call.input_name(i));
      }
      const Tensor gradient = cpu::contiguous(call.input(1));
      const double b1 = call.number("beta1"), b2 = call.number("beta2");
      const AdamWStep step = step_of(call);
      if (may_update(call))
        visit_compute_dtype(gradient.dtype(), [&]<class T>() {
          T* w = call.input(0).fresh_data<T>();
          const T* g = gradient.data<T>();
          T* m = call.input(2).fresh_data<T>();
          T* v = call.input(3).fresh_data<T>();
          const T shrink = T(1 - step.learning_rate * call.number("weight_decay")), rate = T(step.rate),
                  root = T(step.root);
          const T beta1 = T(b1), beta2 = T(b2), rest1 = T(1 - b1), rest2 = T(1 - b2),
                  epsilon = T(call.number("epsilon"));
          cpu::parallel_for(gradient.numel(), 16384, 4, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
            for (std::int64_t i = begin; i < end; ++i) {
              m[i] = beta1 * m[i] + rest1 * g[i];
              v[i] = beta2 * v[i] + rest2 * g[i] * g[i];
              w[i] = shrink * w[i] - rate * m[i] / (std::sqrt(v[i]) * root + epsilon);
            }
          });
        });
      call.set_output(0, call.input(0));
      call.set_output(1, call.input(2));
      call.set_output(2, call.input(3));
    };
    const auto options = [](double weight_decay, std::int64_t step) {
      return Attributes{{"learning_rate", 6e-3}, {"weight_decay", weight_decay}, {"step", step}};
    };
    const auto given = [](Tensors tensors, Tensor factors = {}, Tensor if_finite = {}) {
      tensors.insert(tensors.end(), {factors, if_finite});
      return tensors;
    };
    const auto zeros_at = [](SampleMaker& make, const Shape& shape) {
      return make.values(shape, std::vector<double>(static_cast<std::size_t>(shape.numel())));
    };
    /// A parameter, its gradient and moments as they are after some steps.
    const auto later = [](SampleMaker& make, const Shape& shape) -> Tensors {
      return {make.normal(shape), make.normal(shape), make.normal(shape), make.uniform(shape, 0, 1)};
    };
    spec.samples = [=](SampleMaker& make) -> std::vector<Sample> {
      const Tensor zeros = zeros_at(make, {3, 5});
      const Tensors first = {make.values({3, 5}, make.normal({15}).to_vector<double>()),
                             make.values({3, 5}, make.normal({15}).to_vector<double>()), zeros, elements::clone(zeros)};
      return {{"first step", given(first), options(0.1, 1)},
              {"later", given(later(make, {7})), options(0.1, 100)},
              {"no decay", given(later(make, {2, 3})), options(0, 3)},
              {"factors", given(later(make, {2, 3}), make.values({3}, {6e-3, 0.02, 1.5}), make.values({}, {1})),
               options(0.1, 5)}};
    };
    spec.edge_samples = [=](SampleMaker& make) -> std::vector<Sample> {
      const Tensors with_nan = {make.normal({2}), make.values({2}, {NAN, 1}), zeros_at(make, {2}), zeros_at(make, {2})};
      const Tensors still = {make.normal({2}), zeros_at(make, {2}), zeros_at(make, {2}), zeros_at(make, {2})};
      return {{"zero gradient", given(still), options(0.1, 1)},
              {"not a number", given(with_nan), options(0, 1)},
              {"infinite", given(later(make, {2}), {}, make.values({}, {INFINITY})), options(0.1, 2)},
              {"not finite", given(later(make, {2}), make.values({3}, {6e-3, 0.02, 1.5}), make.values({1}, {NAN})),
               options(0.1, 2)},
              {"empty", given(later(make, {0})), options(0, 1)}};
    };
    spec.error_samples = [=](SampleMaker& make) -> std::vector<ErrorSample> {
      Tensors wrong = later(make, {2});
      wrong[1] = make.normal({3});
      return {
          {"shape", given(wrong), options(0, 1),
           "gradient must have the parameter's shape: parameter (2) f64 cpu, gradient (3) f64 cpu"},
          {"factors", given(later(make, {2}), make.normal({2})), options(0, 1), "factors must be three"},
          {"if_finite", given(later(make, {2}), {}, make.normal({2})), options(0, 1), "if_finite must be one number"},
          {"step", given(later(make, {2})), options(0, 0), "step counts from 1"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 16.0; };
    spec.cost = [](const OpCall& call) -> Cost { return {14.0 * call.input(0).numel(), bytes_of_operands(call)}; };
    return spec;
  }();
  return op;
}

namespace {
thread_local JointUpdates* joint = nullptr;
}

JointUpdates::JointUpdates() {
  if (joint) fail("updates are gathered inside others that are");
  joint = this;
}
JointUpdates::~JointUpdates() { joint = nullptr; }
/// None where each op is checked.
JointUpdates* JointUpdates::current() { return anomaly_enabled() ? nullptr : joint; }

void JointUpdates::finish() {
  if (queue) queue();
  gathered = nullptr;
  queue = nullptr;
}

Tensor clip_by_global_norm_(const Tensors& gradients, double max_norm, SourceLocation where) {
  return apply(clip_by_global_norm_op(), gradients, {{"max_norm", max_norm}}, where).back();
}

void adamw_step_(const Tensor& parameter, const Tensor& gradient, const Tensor& first_moment, const Tensor& second_moment,
                 const AdamWOptions& options, SourceLocation where) {
  apply(adamw_op(), {parameter, gradient, first_moment, second_moment, options.factors, options.if_finite},
        {{"learning_rate", options.learning_rate},
         {"beta1", options.beta1},
         {"beta2", options.beta2},
         {"epsilon", options.epsilon},
         {"weight_decay", options.weight_decay},
         {"step", options.step}},
        where);
}

}  // namespace gradus
