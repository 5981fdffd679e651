#include "framework/ops/extremes.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/reduce.h"
#include "framework/ops/decisions.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"
#include "framework/ops/reduced_axes.h"

namespace gradus {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

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
    cpu::parallel_for(rows.rows, std::max<std::int64_t>(1, 16384 / rows.columns), 2 * rows.columns,
                      [&](std::int64_t begin, std::int64_t end) {
                        for (std::int64_t row = begin; row < end; ++row)
                          out[row] = index_of_largest(matrix + row * rows.columns, rows.columns);
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
      return reference_fold(
          call, [](const std::vector<double>& row) { return row[index_of_largest(row.data(), row.size())]; });
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
    };
    spec.saves = {.inputs = {0}};
    spec.backward_composite = [](BackwardCall& call) {
      const std::int64_t axis = call.integer("axis");
      const Tensor winners = argmax(call.input(0), axis, true), g = with_kept_axes(call, call.cotangent());
      call.set_gradient(0, scatter_add(g, axis, winners, call.input_spec(0).shape));
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

Tensor max(const Tensor& x, std::int64_t axis, bool keep_axis, SourceLocation where) {
  return apply(max_op(), {x}, {{"axis", axis}, {"keep_axis", keep_axis}}, where)[0];
}
Tensor argmax(const Tensor& x, std::int64_t axis, bool keep_axis, SourceLocation where) {
  return apply(argmax_op(), {x}, {{"axis", axis}, {"keep_axis", keep_axis}}, where)[0];
}

}  // namespace gradus
