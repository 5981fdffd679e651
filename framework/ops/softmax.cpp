#include "framework/ops/softmax.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/shared/scalar_math.h"
#include "framework/ops/cost.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// Runs `row_function(x row, y row, length)` over the rows along `axis` of contiguous tensors whose axis is the last.
template <class RowFunction>
void for_each_row(std::int64_t rows, std::int64_t length, RowFunction&& function) {
  cpu::parallel_for(rows, std::max<std::int64_t>(1, 8192 / std::max<std::int64_t>(length, 1)), 8 * length,
                    [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) function(row);
  });
}

/// x with `axis` moved to the end, packed.
Tensor axis_last(const Tensor& x, int axis) {
  Shape shape = x.shape(), strides = x.strides();
  for (int i = axis; i + 1 < x.rank(); ++i) {
    std::swap(shape[i], shape[i + 1]);
    std::swap(strides[i], strides[i + 1]);
  }
  return cpu::contiguous(x.window(shape, strides, x.offset()));
}

/// The inverse of axis_last, as a view.
Tensor axis_back(const Tensor& x, int axis) {
  Shape shape = x.shape(), strides = x.strides();
  for (int i = x.rank() - 1; i > axis; --i) {
    std::swap(shape[i], shape[i - 1]);
    std::swap(strides[i], strides[i - 1]);
  }
  return x.window(shape, strides, x.offset());
}

template <class T>
T largest(const T* x, std::int64_t n) {
  T result = -std::numeric_limits<T>::infinity();
  for (std::int64_t i = 0; i < n; ++i) result = x[i] > result || x[i] != x[i] ? x[i] : result;
  return result;
}

template <class T>
void softmax_row(const T* x, T* y, std::int64_t n) {
  const T peak = largest(x, n);
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = functions::exp(x[i] - peak);
    sum += y[i];
  }
  const T scale = T(1) / sum;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] *= scale;
}

template <class T>
void log_softmax_row(const T* x, T* y, std::int64_t n) {
  const T peak = largest(x, n);
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += functions::exp(x[i] - peak);
  const T log_sum = std::log(sum);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] = (x[i] - peak) - log_sum;
}

/// dx = y (g - sum(g y)), or for the logarithm dx = g - e^y sum(g).
template <class T>
void backward_row(const T* y, const T* g, T* dx, std::int64_t n, bool logarithm) {
  T dot = 0;
  if (logarithm) {
#pragma omp simd reduction(+ : dot)
    for (std::int64_t i = 0; i < n; ++i) dot += g[i];
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) dx[i] = g[i] - functions::exp(y[i]) * dot;
  } else {
#pragma omp simd reduction(+ : dot)
    for (std::int64_t i = 0; i < n; ++i) dot += g[i] * y[i];
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) dx[i] = y[i] * (g[i] - dot);
  }
}

void run_forward(ForwardCall& call, bool logarithm) {
  const int axis = normalize_axis(call.integer("axis"), call.input(0).rank());
  const Tensor x = axis_last(call.input(0), axis), y = Tensor::empty(x.shape(), x.dtype());
  const std::int64_t length = x.shape().back();
  visit_compute_dtype(x.dtype(), [&]<class T>() {
    const T* from = x.data<T>();
    T* to = y.fresh_data<T>();
    for_each_row(length ? x.numel() / length : 0, length, [&](std::int64_t row) {
      (logarithm ? log_softmax_row<T> : softmax_row<T>)(from + row * length, to + row * length, length);
    });
  });
  call.set_output(0, axis_back(y, axis));
}

void run_backward(BackwardCall& call, bool logarithm) {
  const int axis = normalize_axis(call.integer("axis"), call.input_spec(0).shape.rank());
  const Tensor y = axis_last(call.output(0), axis), g = axis_last(call.cotangent(), axis), dx = Tensor::empty(y.shape(), y.dtype());
  const std::int64_t length = y.shape().back();
  visit_compute_dtype(y.dtype(), [&]<class T>() {
    for_each_row(length ? y.numel() / length : 0, length, [&](std::int64_t row) {
      const std::int64_t at = row * length;
      backward_row(y.data<T>() + at, g.data<T>() + at, dx.fresh_data<T>() + at, length, logarithm);
    });
  });
  call.set_gradient(0, axis_back(dx, axis));
}

/// Stable definition in doubles along the axis.
Tensors run_reference(const OpCall& call, bool logarithm) {
  const int along = normalize_axis(call.integer("axis"), call.input(0).rank());
  const Shape& shape = call.input(0).shape();
  std::vector<double> x = call.input(0).to_vector<double>(), y = x;
  std::int64_t inner = 1;
  for (int axis = along + 1; axis < shape.rank(); ++axis) inner *= shape[axis];
  const std::int64_t n = shape[along];
  for (std::int64_t row = 0; n > 0 && row < shape.numel() / n; ++row) {
    const std::int64_t first = row / inner * n * inner + row % inner;
    double peak = -inf, sum = 0;
    for (std::int64_t i = 0; i < n; ++i) peak = std::max(peak, x[first + i * inner]);
    for (std::int64_t i = 0; i < n; ++i) sum += std::exp(x[first + i * inner] - peak);
    for (std::int64_t i = 0; i < n; ++i) {
      const double shifted = x[first + i * inner] - peak;
      y[first + i * inner] = logarithm ? shifted - std::log(sum) : std::exp(shifted) / sum;
    }
  }
  return {from_values(shape, y, call.input(0).dtype())};
}

OpSpec normalised_exponential(OpSpec spec, bool logarithm) {
  spec.inputs = {{"x"}};
  spec.attributes = {{"axis", std::int64_t{-1}, "the axis along which the results add up to 1"}};
  spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
    call.require_compute_dtype(0);
    if (call.input(0).rank() == 0) call.fail("x needs at least one axis");
    call.axis("axis", call.input(0).rank());
    return {call.input(0).spec()};
  };
  spec.saves = {.outputs = {0}};
  spec.reference = [logarithm](const OpCall& call) { return run_reference(call, logarithm); };
  spec.cpu.forward = [logarithm](ForwardCall& call) { run_forward(call, logarithm); };
  spec.cpu.backward = [logarithm](BackwardCall& call) { run_backward(call, logarithm); };
  spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
    return {{"rows", {make.normal({3, 5})}, {}},
            {"columns", {make.normal({7, 3})}, {{"axis", std::int64_t{0}}}},
            {"middle", {make.normal({2, 5, 3})}, {{"axis", std::int64_t{1}}}},
            {"size one", {make.normal({3, 1})}, {}},
            {"long", {make.normal({2, 131})}, {}}};
  };
  spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
    return {{"masked", {make.values({4, 3}, {0, -inf, 1, -inf, -inf, 2, 1e4, -1e4, 0, 700, 710, 720})}, {}},
            {"nothing left", {make.values({1, 2}, {-inf, -inf})}, {}},
            {"not a number", {make.values({2, 2}, {nan, 0, inf, 0})}, {}},
            {"empty", {make.normal({0, 3})}, {}},
            {"empty axis", {make.normal({3, 0})}, {}}};
  };
  spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
    return {{"axis",
             {make.normal({2, 3})},
             {{"axis", std::int64_t{2}}},
             "axis 2 is outside a tensor of 2 axes: x (2,3) f64 cpu, axis=2"},
            {"scalar", {make.normal({})}, {}, "x needs at least one axis"},
            {"integers", {make.integers({2}, 0, 3)}, {}, "x must be f32, f64 or bf16"}};
  };
  spec.error_model.roundings = [](const OpCall& call) { return call.input(0).shape()[normalize_axis(call.integer("axis"), call.input(0).rank())] + 8.0; };
  spec.cost = [](const OpCall& call) -> Cost { return {12.0 * call.input(0).numel(), bytes_of_operands(call)}; };
  return spec;
}

}  // namespace

const OpSpec& softmax_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "softmax";
    spec.summary = "Positive numbers that add up to 1 along an axis.";
    spec.math = "y_i = e^(x_i - m) / sum over j of e^(x_j - m), m = max x";
    spec.derivation = "dy_i/dx_j = y_i (1[i=j] - y_j), so dL/dx_j = y_j (g_j - sum_i g_i y_i).";
    spec.pitfalls = "Leaving out the sum (the diagonal alone); checking it through the sum of its outputs, a constant.";
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor y = call.output(0), gy = call.cotangent() * y;
      call.set_gradient(0, gy - y * sum(gy, {call.integer("axis")}, true));
    };
    return normalised_exponential(std::move(spec), false);
  }();
  return op;
}

const OpSpec& log_softmax_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "log_softmax";
    spec.summary = "Logarithm of the softmax, computed without forming it.";
    spec.math = "y_i = x_i - m - ln sum over j of e^(x_j - m), m = max x";
    spec.derivation = "dy_i/dx_j = 1[i=j] - e^(y_j), so dL/dx_j = g_j - e^(y_j) sum_i g_i.";
    spec.pitfalls = "log(softmax(x)) underflows to -inf where this does not.";
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor y = call.output(0), g = call.cotangent();
      call.set_gradient(0, g - exp(y) * sum(g, {call.integer("axis")}, true));
    };
    return normalised_exponential(std::move(spec), true);
  }();
  return op;
}

Tensor softmax(const Tensor& x, std::int64_t axis, SourceLocation where) {
  return apply(softmax_op(), {x}, {{"axis", axis}}, where)[0];
}
Tensor log_softmax(const Tensor& x, std::int64_t axis, SourceLocation where) {
  return apply(log_softmax_op(), {x}, {{"axis", axis}}, where)[0];
}

}  // namespace gradus
