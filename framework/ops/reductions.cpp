#include "framework/ops/reductions.h"

#include <cmath>
#include <functional>
#include <limits>

#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/reduce.h"
#include "framework/ops/decisions.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

using Integers = std::vector<std::int64_t>;
constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Which axes are reduced, and the two shapes of the result.
struct Reduction {
  std::vector<bool> reduced;
  Shape kept_shape;     ///< reduced axes with size 1
  Shape dropped_shape;  ///< reduced axes left out
  std::int64_t count = 1;  ///< elements that go into one result
};

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

Reduction reduction_of(const Shape& shape, const Attributes& attributes) {
  const Integers axes = attributes.find("axes") ? attributes.integers("axes") : Integers{attributes.integer("axis")};
  return reduction_over(shape, axes);
}

bool keeps_axes(const Attributes& attributes) {
  return attributes.flag(attributes.find("keep_axes") ? "keep_axes" : "keep_axis");
}

const Shape& result_shape(const Reduction& r, const Attributes& attributes) {
  return keeps_axes(attributes) ? r.kept_shape : r.dropped_shape;
}

std::vector<TensorSpec> infer_reduction(const OpCall& call) {
  call.require_compute_dtype(0);
  const int rank = call.input(0).rank();
  std::vector<bool> seen(rank);
  for (std::int64_t axis : call.attributes().integers("axes")) {
    if (axis < -rank || axis >= rank) call.fail("axis {} is outside a tensor of {} axes", axis, rank);
    if (seen[normalize_axis(axis, rank)]) call.fail("axis {} is named twice", axis);
    seen[normalize_axis(axis, rank)] = true;
  }
  return {{result_shape(reduction_of(call.input(0).shape(), call.attributes()), call.attributes()), call.input(0).dtype()}};
}

/// Calls fold(values of one result) for each result, in order; plain loops for references.
std::vector<double> fold_rows(const Tensor& x, const std::vector<bool>& reduced,
                              const std::function<double(const std::vector<double>&)>& fold) {
  const Reduction r = [&] {
    Integers axes;
    for (int axis = 0; axis < x.rank(); ++axis) if (reduced[axis]) axes.push_back(axis);
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

Tensors reference_fold(const OpCall& call, const std::function<double(const std::vector<double>&)>& fold) {
  const Reduction r = reduction_of(call.input(0).shape(), call.attributes());
  return {from_values(result_shape(r, call.attributes()), fold_rows(call.input(0), r.reduced, fold), call.input(0).dtype())};
}

double total(const std::vector<double>& row) {
  double sum = 0;
  for (double value : row) sum += value;
  return sum;
}

/// The cotangent of a result as a tensor that broadcasts to the input.
Tensor with_kept_axes(const BackwardCall& call, const Tensor& tensor) {
  return reshape(tensor, reduction_of(call.input_spec(0).shape, call.attributes()).kept_shape);
}

Tensor with_shape(const Tensor& tensor, const Shape& shape) {
  return tensor.window(shape, contiguous_strides(shape), tensor.offset());
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

Cost reduction_cost(const OpCall& call) {
  const double elements = call.input(0).numel();
  return {elements, elements * size_in_bytes(call.input(0).dtype())};
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

std::vector<AttributeSpec> one_axis_attributes() {
  return {{"axis", std::int64_t{-1}, "axis to reduce"}, {"keep_axis", false, "keep it with size 1"}};
}

std::vector<TensorSpec> infer_one_axis(const OpCall& call, DType dtype) {
  call.require_compute_dtype(0);
  if (call.input(0).rank() == 0) call.fail("a scalar has no axis to reduce");
  const int axis = call.axis("axis", call.input(0).rank());
  if (call.input(0).shape()[axis] == 0) call.fail("the largest of no elements is asked for");
  return {{result_shape(reduction_of(call.input(0).shape(), call.attributes()), call.attributes()), dtype}};
}

/// Index of the first largest element; the first NaN beats all.
template <class T>
std::int64_t index_of_largest(const T* row, std::int64_t count) {
  std::int64_t best = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::isnan(row[i])) return i;
    if (row[i] > row[best]) best = i;
  }
  return best;
}

/// i64 indices in the shape of the result.
Tensor largest_indices(const ForwardCall& call) {
  const Reduction r = reduction_of(call.input(0).shape(), call.attributes());
  const cpu::ReductionRows rows = cpu::as_reduction_rows(call.input(0), r.reduced);
  const Tensor indices = Tensor::empty(result_shape(r, call.attributes()), DType::i64);
  visit_compute_dtype(call.input(0).dtype(), [&]<class T>() {
    const T* matrix = rows.matrix.data<T>();
    std::int64_t* out = indices.fresh_data<std::int64_t>();
    cpu::parallel_for(rows.rows, std::max<std::int64_t>(1, 16384 / rows.columns), 2 * rows.columns, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) out[row] = index_of_largest(matrix + row * rows.columns, rows.columns);
    });
  });
  return indices;
}

std::vector<Sample> one_axis_samples(SampleMaker& make) {
  const auto along = [](std::int64_t axis, bool keep) { return Attributes{{"axis", axis}, {"keep_axis", keep}}; };
  return {{"rows", {make.distinct({3, 5})}, along(-1, false)},
          {"columns", {make.distinct({7, 3})}, along(0, false)},
          {"middle", {make.distinct({2, 5, 3})}, along(1, true)},
          {"size one", {make.distinct({3, 1})}, along(1, false)}};
}

std::vector<Sample> one_axis_edge_samples(SampleMaker& make) {
  return {{"special values", {make.values({4, 3}, {nan, inf, 1, -inf, -inf, -inf, 2, 2, 1, 0, -0.0, nan})}, {}},
          {"no results", {make.normal({0, 3})}, {}}};
}

std::vector<ErrorSample> one_axis_error_samples(SampleMaker& make) {
  return {{"scalar", {make.normal({})}, {}, "a scalar has no axis to reduce"},
          {"empty", {make.normal({3, 0})}, {}, "the largest of no elements is asked for: x (3,0) f64 cpu"},
          {"axis", {make.normal({3, 2})}, {{"axis", std::int64_t{2}}}, "axis 2 is outside a tensor of 2 axes"}};
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
    spec.cpu.forward = [](ForwardCall& call) {
      const Reduction r = reduction_of(call.input(0).shape(), call.attributes());
      call.set_output(0, with_shape(cpu::sum(call.input(0), r.reduced), call.promised()[0].shape));
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
      const Tensor sums = cpu::sum(call.input(0), r.reduced);
      visit_compute_dtype(sums.dtype(), [&]<class T>() {
        T* out = sums.fresh_data<T>();
        for (std::int64_t i = 0; i < sums.numel(); ++i) out[i] /= T(r.count);
      });
      call.set_output(0, with_shape(sums, call.promised()[0].shape));
    };
    spec.backward_composite = [](BackwardCall& call) {
      const double count = reduction_of(call.input_spec(0).shape, call.attributes()).count;
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
      const cpu::ReductionRows rows = cpu::as_reduction_rows(call.input(0), r.reduced);
      const double divisor = std::max(0.0, r.count - call.number("correction"));
      visit_compute_dtype(call.input(0).dtype(), [&]<class T>() {
        const T* matrix = rows.matrix.data<T>();
        T* out = call.output(0).fresh_data<T>();
        cpu::parallel_for(rows.rows, 64, 4 * rows.columns, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t row = begin; row < end; ++row) {
            const T* x = matrix + row * rows.columns;
            double sum = 0, squares = 0;
            for (std::int64_t i = 0; i < rows.columns; ++i) sum += x[i];
            const double mean = sum / rows.columns;
            for (std::int64_t i = 0; i < rows.columns; ++i) squares += (x[i] - mean) * (x[i] - mean);
            out[row] = T(squares / divisor);
          }
        });
      });
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor x = call.input(0);
      const Reduction r = reduction_of(x.shape(), call.attributes());
      Integers axes;
      for (int axis = 0; axis < x.rank(); ++axis) if (r.reduced[axis]) axes.push_back(axis);
      const double scale = 2 / std::max(0.0, r.count - call.number("correction"));
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
              {"constant", {make.values({3}, {5, 5, 5})}, over({})}};
    };
    spec.error_samples = reduction_error_samples;
    spec.error_model = {reduction_length, {}};
    spec.cost = reduction_cost;
    return spec;
  }();
  return op;
}

const OpSpec& max_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "max";
    spec.summary = "Largest element along one axis.";
    spec.math = "y = max over i of x_i";
    spec.derivation = "y is a copy of the winner: it gets the whole cotangent, the others nothing.";
    spec.subgradient = "Among equals the first gets the gradient.";
    spec.decisions = [](const OpCall& call) {
      const std::vector<std::int64_t> winners = argmax(call.input(0), call.integer("axis")).to_vector<std::int64_t>();
      return hash_decisions(static_cast<std::int64_t>(winners.size()), [&](std::int64_t i) { return winners[i]; });
    };
    spec.pitfalls = "Giving the gradient to every one of several equal elements.";
    spec.inputs = {{"x"}};
    spec.attributes = one_axis_attributes();
    spec.infer = [](const OpCall& call) { return infer_one_axis(call, call.input(0).dtype()); };
    spec.reference = [](const OpCall& call) {
      return reference_fold(call, [](const std::vector<double>& row) { return row[index_of_largest(row.data(), row.size())]; });
    };
    spec.cpu.forward = [](ForwardCall& call) {
      const Reduction r = reduction_of(call.input(0).shape(), call.attributes());
      const cpu::ReductionRows rows = cpu::as_reduction_rows(call.input(0), r.reduced);
      const Tensor indices = largest_indices(call);
      visit_compute_dtype(call.input(0).dtype(), [&]<class T>() {
        const T* matrix = rows.matrix.data<T>();
        const std::int64_t* index = indices.data<std::int64_t>();
        T* out = call.output(0).fresh_data<T>();
        for (std::int64_t row = 0; row < rows.rows; ++row) out[row] = matrix[row * rows.columns + index[row]];
      });
      call.save(with_shape(indices, r.kept_shape));
    };
    spec.backward_composite = [](BackwardCall& call) {
      const TensorSpec& x = call.input_spec(0);
      const int along = normalize_axis(call.integer("axis"), x.shape.rank());
      const std::vector<std::int64_t> index = call.saved(0).to_vector<std::int64_t>();
      const Tensor winners = zeros(x.shape, x.dtype);  // 1 at each winner
      std::int64_t inner = 1;
      for (int axis = along + 1; axis < x.shape.rank(); ++axis) inner *= x.shape[axis];
      visit_compute_dtype(x.dtype, [&]<class T>() {
        T* mark = winners.fresh_data<T>();
        for (std::size_t i = 0; i < index.size(); ++i) {
          const std::int64_t outer = i / inner, column = i % inner;
          mark[(outer * x.shape[along] + index[i]) * inner + column] = T(1);
        }
      });
      call.set_gradient(0, with_kept_axes(call, call.cotangent()) * winners);
    };
    spec.samples = one_axis_samples;
    spec.edge_samples = one_axis_edge_samples;
    spec.error_samples = one_axis_error_samples;
    spec.error_model.roundings = [](const OpCall&) { return 0.0; };
    spec.cost = reduction_cost;
    return spec;
  }();
  return op;
}

const OpSpec& argmax_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "argmax";
    spec.summary = "Index of the largest element along one axis, the first of equals.";
    spec.math = "y = the smallest i with x_i = max_j x_j";
    spec.derivation = "A whole number: no gradient.";
    spec.inputs = {{"x", false}};
    spec.attributes = one_axis_attributes();
    spec.infer = [](const OpCall& call) { return infer_one_axis(call, DType::i64); };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Tensor indices = reference_fold(call, [](const std::vector<double>& row) {
        return static_cast<double>(index_of_largest(row.data(), row.size()));
      })[0];
      return {from_values(indices.shape(), indices.to_vector<std::int64_t>())};
    };
    spec.cpu.forward = [](ForwardCall& call) { call.set_output(0, largest_indices(call)); };
    spec.samples = one_axis_samples;
    spec.edge_samples = one_axis_edge_samples;
    spec.error_samples = one_axis_error_samples;
    spec.error_model.roundings = [](const OpCall&) { return 0.0; };
    spec.cost = reduction_cost;
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
    spec.cpu.forward = [](ForwardCall& call) {
      call.set_output(0, cpu::sum_to_shape(call.input(0), call.promised()[0].shape));
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
Tensor max(const Tensor& x, std::int64_t axis, bool keep_axis, SourceLocation where) {
  return apply(max_op(), {x}, {{"axis", axis}, {"keep_axis", keep_axis}}, where)[0];
}
Tensor argmax(const Tensor& x, std::int64_t axis, bool keep_axis, SourceLocation where) {
  return apply(argmax_op(), {x}, {{"axis", axis}, {"keep_axis", keep_axis}}, where)[0];
}
Tensor sum_to_shape(const Tensor& x, const Shape& shape, SourceLocation where) {
  return apply(sum_to_shape_op(), {x}, {{"shape", shape.to_vector()}}, where)[0];
}

}  // namespace gradus
