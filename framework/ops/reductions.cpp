#include "framework/ops/reductions.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/base/plural.h"
#include "framework/kernels/cpu/reduce.h"
#include "framework/kernels/elements.h"
#include "framework/ops/cost.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"
#include "framework/ops/reduced_axes.h"

namespace gradus {
namespace {

using Integers = std::vector<std::int64_t>;
constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::vector<TensorSpec> infer_reduction(const OpCall& call) {
  call.require_compute_dtype(0);
  const int rank = call.input(0).rank();
  std::vector<bool> seen(rank);
  for (std::int64_t axis : call.attributes().integers("axes")) {
    if (axis < -rank || axis >= rank) call.fail("axis {} is outside a tensor of {}", axis, plural(rank, "axis", "axes"));
    if (seen[normalize_axis(axis, rank)]) call.fail("axis {} is named twice", axis);
    seen[normalize_axis(axis, rank)] = true;
  }
  return {{result_shape(reduction_of(call.input(0).shape(), call.attributes()), call.attributes()), call.input(0).dtype()}};
}

double total(const std::vector<double>& row) {
  double sum = 0;
  for (double value : row) sum += value;
  return sum;
}

Attributes over(Integers axes, bool keep = false) { return {{"axes", std::move(axes)}, {"keep_axes", keep}}; }

std::vector<Sample> reduction_samples(SampleMaker& make) {
  return {{"all", {make.normal({3, 5})}, over({})},
          {"rows", {make.normal({3, 5})}, over({1})},
          {"columns", {make.normal({7, 5})}, over({0})},
          {"columns kept", {make.normal({7, 5})}, over({0}, true)},
          {"middle", {make.normal({2, 7, 3})}, over({1}, true)},
          {"outer two", {make.normal({3, 5, 2})}, over({0, -1})},
          {"leading two", {make.normal({13, 5, 3})}, over({0, 1})}};
}

std::vector<Sample> reduction_edge_samples(SampleMaker& make) {
  return {{"special values", {make.values({5, 2}, {inf, 1, inf, -inf, nan, 0, -0.0, -0.0, 1e300, -1e300})}, over({1})},
          {"no elements", {make.normal({3, 0})}, over({1})},
          {"no results", {make.normal({0, 3})}, over({1})},
          {"scalar", {make.normal({})}, over({})},
          {"size one", {make.normal({1, 1})}, over({0}, true)},
          {"long", {make.normal({100003})}, over({})}};
}

std::vector<ErrorSample> reduction_error_samples(SampleMaker& make) {
  return {{"axis", {make.normal({2, 3})}, over({2}), "axis 2 is outside a tensor of 2 axes: x (2,3) f64 cpu, axes=[2]"},
          {"twice", {make.normal({2, 3})}, over({1, -1}), "axis -1 is named twice"},
          {"integers", {make.integers({2}, 0, 3)}, over({}), "x must be f32, f64 or bf16"}};
}

double reduction_length(const OpCall& call) { return reduction_of(call.input(0).shape(), call.attributes()).count + 2.0; }

/// Sum of magnitudes, the largest over the results.
double absolute_sum(const OpCall& call, const Tensors&) {
  const Reduction r = reduction_of(call.input(0).shape(), call.attributes());
  double largest = 0;
  for (double value : fold_rows(call.input(0), r.reduced, [](const std::vector<double>& row) {
         double sum = 0;
         for (double x : row) sum += std::fabs(x);
         return sum;
       })) {
    largest = std::max(largest, value);
  }
  return largest;
}

std::vector<AttributeSpec> axes_attributes() {
  return {{"axes", Integers{}, "axes to reduce; empty for all"}, {"keep_axes", false, "keep reduced axes with size 1"}};
}

}  // namespace

const OpSpec& sum_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "sum";
    spec.summary = "Sum over axes.";
    spec.math = "y = sum over the reduced axes of x";
    spec.derivation = "Every element has slope 1 in one result: the gradient is that result's cotangent, stretched.";
    spec.pitfalls = "Forgetting to restore the dropped axis before stretching.";
    spec.inputs = {{"x"}};
    spec.attributes = axes_attributes();
    spec.infer = infer_reduction;
    spec.reference = [](const OpCall& call) { return reference_fold(call, total); };
    spec.serves_every_device = true;
    spec.cpu.forward = [](ForwardCall& call) {
      const Reduction r = reduction_of(call.input(0).shape(), call.attributes());
      call.set_output(0, with_shape(elements::sum(call.input(0), r.reduced), call.promised()[0].shape));
    };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, broadcast_to(with_kept_axes(call, call.cotangent()), call.input_spec(0).shape));
    };
    spec.samples = reduction_samples;
    spec.edge_samples = reduction_edge_samples;
    spec.error_samples = reduction_error_samples;
    spec.error_model = {reduction_length, absolute_sum};
    spec.cost = reduction_cost;
    return spec;
  }();
  return op;
}

const OpSpec& mean_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "mean";
    spec.summary = "Mean over axes.";
    spec.math = "y = (sum over the reduced axes of x) / n";
    spec.derivation = "Every element has slope 1/n.";
    spec.pitfalls = "Forgetting 1/n, or taking n of the whole tensor.";
    spec.inputs = {{"x"}};
    spec.attributes = axes_attributes();
    spec.infer = infer_reduction;
    spec.reference = [](const OpCall& call) {
      return reference_fold(call, [](const std::vector<double>& row) { return total(row) / row.size(); });
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Reduction r = reduction_of(call.input(0).shape(), call.attributes());
      const Tensor sums = elements::sum(call.input(0), r.reduced);
      visit_compute_dtype(sums.dtype(), [&]<class T>() {
        T* out = sums.fresh_data<T>();
        for (std::int64_t i = 0; i < sums.numel(); ++i) out[i] /= T(r.count);
      });
      call.set_output(0, with_shape(sums, call.promised()[0].shape));
    };
    spec.backward_composite = [](BackwardCall& call) {
      // Without elements there is no slope; a division by 0 would reach the gradient of the cotangent.
      const double count = std::max<double>(1, reduction_of(call.input_spec(0).shape, call.attributes()).count);
      call.set_gradient(0, broadcast_to(with_kept_axes(call, call.cotangent() / count), call.input_spec(0).shape));
    };
    spec.samples = reduction_samples;
    spec.edge_samples = reduction_edge_samples;
    spec.error_samples = reduction_error_samples;
    spec.error_model = {reduction_length, [](const OpCall& call, const Tensors& outputs) {
                          return absolute_sum(call, outputs) / reduction_of(call.input(0).shape(), call.attributes()).count;
                        }};
    spec.cost = reduction_cost;
    return spec;
  }();
  return op;
}

const OpSpec& var_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "var";
    spec.summary = "Variance over axes.";
    spec.math = "y = (sum of (x - mean)^2) / (n - correction)";
    spec.derivation = "dy/dx_i = 2 (x_i - mean) / (n - correction); the way through the mean cancels, because the "
                      "deviations sum to 0.";
    spec.pitfalls = "n where n - 1 was meant; with n <= correction the result is NaN or infinite.";
    spec.inputs = {{"x"}};
    spec.attributes = axes_attributes();
    spec.attributes.push_back({"correction", 1.0, "subtracted from the count"});
    spec.infer = infer_reduction;
    spec.reference = [](const OpCall& call) {
      const double correction = call.number("correction");
      return reference_fold(call, [correction](const std::vector<double>& row) {
        const double mean = total(row) / row.size();
        double squares = 0;
        for (double x : row) squares += (x - mean) * (x - mean);
        return squares / std::max(0.0, row.size() - correction);
      });
    };
    spec.saves = {.inputs = {0}};
    spec.cpu.forward = [](ForwardCall& call) {
      const Reduction r = reduction_of(call.input(0).shape(), call.attributes());
      const std::vector<double> squares = cpu::squared_deviations(cpu::as_reduction_rows(call.input(0), r.reduced));
      const double divisor = std::max(0.0, r.count - call.number("correction"));
      visit_compute_dtype(call.input(0).dtype(), [&]<class T>() {
        std::transform(squares.begin(), squares.end(), call.output(0).fresh_data<T>(),
                       [divisor](double sum) { return T(sum / divisor); });
      });
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor x = call.input(0);
      const Reduction r = reduction_of(x.shape(), call.attributes());
      Integers axes;
      for (int axis = 0; axis < x.rank(); ++axis) if (r.reduced[axis]) axes.push_back(axis);
      const double scale = r.count == 0 ? 0 : 2 / std::max(0.0, r.count - call.number("correction"));
      call.set_gradient(0, with_kept_axes(call, call.cotangent()) * scale * (x - mean(x, axes, true)));
    };
    spec.samples = [](SampleMaker& make) {
      std::vector<Sample> samples = reduction_samples(make);
      samples.push_back({"population", {make.normal({3, 5})}, {{"axes", Integers{1}}, {"correction", 0.0}}});
      return samples;
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({3, 2}, {inf, 1, nan, 0, -0.0, -0.0})}, over({1})},
              {"one element", {make.normal({3, 1})}, over({1})},
              {"constant", {make.values({3}, {5, 5, 5})}, over({})},
              {"long", {make.normal({2, 40009})}, over({1})}};
    };
    spec.error_samples = reduction_error_samples;
    spec.error_model = {reduction_length, {}};
    spec.cost = [](const OpCall& call) -> Cost {  // the sum; a difference, its square, their sum
      return {4.0 * call.input(0).numel(), bytes_of_operands(call)};
    };
    return spec;
  }();
  return op;
}

const OpSpec& sum_to_shape_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "sum_to_shape";
    spec.summary = "Sums over stretched and missing axes: the adjoint of broadcast_to.";
    spec.math = "y[j] = sum of x[i] over all i that broadcasting reads from j";
    spec.derivation = "The adjoint of summing copies is copying: the gradient is the cotangent, stretched.";
    spec.inputs = {{"x"}};
    spec.attributes = {{"shape", Integers{}, "the shape to sum to; must broadcast to the shape of x"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      const Shape shape(call.attributes().integers("shape"));
      Shape broadcast;
      if (!broadcast_shapes(shape, call.input(0).shape(), broadcast) || !(broadcast == call.input(0).shape())) {
        call.fail("{} does not broadcast to the shape of x", to_string(shape));
      }
      return {{shape, call.input(0).dtype()}};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Shape shape(call.attributes().integers("shape"));
      const Tensor& x = call.input(0);
      const int missing = x.rank() - shape.rank();
      std::vector<bool> reduced(x.rank());
      for (int axis = 0; axis < x.rank(); ++axis) reduced[axis] = axis < missing || shape[axis - missing] != x.shape()[axis];
      return {from_values(shape, fold_rows(x, reduced, total), x.dtype())};
    };
    spec.serves_every_device = true;
    spec.cpu.forward = [](ForwardCall& call) {
      call.set_output(0, elements::sum_to_shape(call.input(0), call.promised()[0].shape));
    };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, broadcast_to(call.cotangent(), call.input_spec(0).shape));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"row", {make.normal({7, 5})}, {{"shape", Integers{5}}}},
              {"column", {make.normal({3, 5})}, {{"shape", Integers{3, 1}}}},
              {"scalar", {make.normal({3, 5})}, {{"shape", Integers{}}}},
              {"middle", {make.normal({2, 5, 3})}, {{"shape", Integers{2, 1, 3}}}},
              {"nothing to do", {make.normal({3, 5})}, {{"shape", Integers{3, 5}}}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({3, 2}, {inf, 1, nan, 0, -0.0, -0.0})}, {{"shape", Integers{3, 1}}}},
              {"no elements", {make.normal({0, 3})}, {{"shape", Integers{3}}}}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"shape", {make.normal({2, 3})}, {{"shape", Integers{2}}}, "(2) does not broadcast to the shape of x: x (2,3) f64 cpu"}};
    };
    spec.error_model.roundings = [](const OpCall& call) { return call.input(0).numel() + 2.0; };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors&) {
      double sum = 0;
      for (double value : call.input(0).to_vector<double>()) sum += std::fabs(value);
      return sum;
    };
    spec.cost = reduction_cost;
    return spec;
  }();
  return op;
}

Tensor sum(const Tensor& x, const Integers& axes, bool keep_axes, SourceLocation where) {
  return apply(sum_op(), {x}, {{"axes", axes}, {"keep_axes", keep_axes}}, where)[0];
}
Tensor mean(const Tensor& x, const Integers& axes, bool keep_axes, SourceLocation where) {
  return apply(mean_op(), {x}, {{"axes", axes}, {"keep_axes", keep_axes}}, where)[0];
}
Tensor var(const Tensor& x, const Integers& axes, bool keep_axes, double correction, SourceLocation where) {
  return apply(var_op(), {x}, {{"axes", axes}, {"keep_axes", keep_axes}, {"correction", correction}}, where)[0];
}
Tensor sum_to_shape(const Tensor& x, const Shape& shape, SourceLocation where) {
  return apply(sum_to_shape_op(), {x}, {{"shape", shape.to_vector()}}, where)[0];
}

}  // namespace gradus
