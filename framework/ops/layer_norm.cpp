#include "framework/ops/layer_norm.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/prefetch.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

constexpr std::int64_t rows_per_chunk = 64;
constexpr std::int64_t rows_ahead = 2;

/// x (rows, n) -> y (rows, n), mean (rows), reciprocal deviation (rows).
template <class T, class A = Arithmetic<T>>
void normalise_rows(const T* x, const A* gain, const A* bias, T* y, A* mean, A* scale, std::int64_t rows,
                    std::int64_t n, A epsilon) {
  cpu::parallel_for(rows, rows_per_chunk, 4 * n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const T* from = x + row * n;
      T* to = y + row * n;
      cpu::prefetch(from, rows_ahead * n, n);
      A sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < n; ++i) sum += A(from[i]);
      const A centre = sum / A(n);
#pragma omp simd reduction(+ : squares)
      for (std::int64_t i = 0; i < n; ++i) squares += (A(from[i]) - centre) * (A(from[i]) - centre);
      const A inverse = A(1) / std::sqrt(squares / A(n) + epsilon);
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) to[i] = T((A(from[i]) - centre) * inverse * gain[i] + bias[i]);
      mean[row] = centre;
      scale[row] = inverse;
    }
  });
}

/// dx, and the sums over rows of g * xhat and g, chunk by chunk and then in order.
template <class T, class A = Arithmetic<T>>
void normalise_rows_backward(const T* x, const A* gain, const T* g, const A* mean, const A* scale, T* dx, A* dgain,
                             A* dbias, std::int64_t rows, std::int64_t n) {
  const std::int64_t chunks = (rows + rows_per_chunk - 1) / rows_per_chunk;
  std::vector<A> partial(chunks * 2 * n, A(0));
  cpu::parallel_for(rows, rows_per_chunk, 4 * n, [&](std::int64_t begin, std::int64_t end) {
    A* gain_sum = partial.data() + begin / rows_per_chunk * 2 * n;
    A* bias_sum = gain_sum + n;
    for (std::int64_t row = begin; row < end; ++row) {
      const T* from = x + row * n;
      const T* up = g + row * n;
      T* to = dx + row * n;
      cpu::prefetch(from, rows_ahead * n, n);
      cpu::prefetch(up, rows_ahead * n, n);
      const A centre = mean[row], inverse = scale[row];
      A mean_g = 0, mean_gx = 0;
#pragma omp simd reduction(+ : mean_g, mean_gx)
      for (std::int64_t i = 0; i < n; ++i) {
        const A xhat = (A(from[i]) - centre) * inverse, weighted = A(up[i]) * gain[i];
        mean_g += weighted;
        mean_gx += weighted * xhat;
      }
      mean_g /= A(n);
      mean_gx /= A(n);
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        const A xhat = (A(from[i]) - centre) * inverse;
        to[i] = T(inverse * (A(up[i]) * gain[i] - mean_g - xhat * mean_gx));
        gain_sum[i] += A(up[i]) * xhat;
        bias_sum[i] += A(up[i]);
      }
    }
  });
  std::fill(dgain, dgain + n, A(0));
  std::fill(dbias, dbias + n, A(0));
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    for (std::int64_t i = 0; i < n; ++i) dgain[i] += partial[chunk * 2 * n + i];
    for (std::int64_t i = 0; i < n; ++i) dbias[i] += partial[chunk * 2 * n + n + i];
  }
}

}  // namespace

const OpSpec& layer_norm_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "layer_norm";
    spec.summary = "Normalises the last axis to mean 0 and variance 1, then scales and shifts it.";
    spec.math = "y = xhat * gain + bias, xhat = (x - mean) / sqrt(variance + epsilon), variance over n, not n - 1";
    spec.derivation = "With h = g gain and s = 1/sqrt(variance + epsilon): the mean and the variance depend on every x, so "
                      "dL/dx = s (h - mean(h) - xhat mean(h xhat)): the three terms are the direct way, the way through the "
                      "mean and the way through the variance. dL/dgain = sum over rows of g xhat, dL/dbias = sum of g.";
    spec.source = "Ba, Kiros and Hinton 2016, arXiv:1607.06450, equation 4";
    spec.pitfalls = "Leaving out one of the two mean terms; dividing by n - 1.";
    spec.inputs = {{"x"}, {"gain"}, {"bias"}};
    spec.attributes = {{"epsilon", 1e-5, "added to the variance"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      call.require_parameter_dtype(0, 1);
      call.require_parameter_dtype(0, 2);
      if (call.input(0).rank() == 0 || call.input(0).shape().back() == 0) call.fail("x needs a last axis with elements");
      const Shape features{call.input(0).shape().back()};
      if (!(call.input(1).shape() == features)) call.fail("gain must have the shape {}", to_string(features));
      if (!(call.input(2).shape() == features)) call.fail("bias must have the shape {}", to_string(features));
      if (!(call.number("epsilon") >= 0)) call.fail("epsilon must not be negative");
      return {call.input(0).spec()};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Tensor centred = call.input(0) - mean(call.input(0), {-1}, true);
      const Tensor variance = mean(centred * centred, {-1}, true);
      return {centred / sqrt(variance + call.number("epsilon")) * call.input(1) + call.input(2)};
    };
    spec.saves = {.all_inputs = true};
    spec.cpu.bf16 = true;
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor x = cpu::contiguous(call.input(0));
      const std::int64_t n = x.shape().back(), rows = x.numel() / n;
      visit_floating_dtype(x.dtype(), [&]<class T>() {
        using A = Arithmetic<T>;
        const Tensor gain = cpu::contiguous(call.input(1), dtype_of<A>),
                     bias = cpu::contiguous(call.input(2), dtype_of<A>);
        const Tensor mean = Tensor::empty({rows}, dtype_of<A>), scale = Tensor::empty({rows}, dtype_of<A>);
        normalise_rows(x.data<T>(), gain.data<A>(), bias.data<A>(), call.output(0).fresh_data<T>(),
                       mean.fresh_data<A>(), scale.fresh_data<A>(), rows, n, A(call.number("epsilon")));
        if (call.will_run_backward()) {
          call.save(mean);
          call.save(scale);
        }
      });
    };
    spec.cpu.backward = [](BackwardCall& call) {
      const Tensor x = cpu::contiguous(call.input(0)), g = cpu::contiguous(call.cotangent());
      const std::int64_t n = x.shape().back();
      visit_floating_dtype(x.dtype(), [&]<class T>() {
        using A = Arithmetic<T>;
        const Tensor gain = cpu::contiguous(call.input(1), dtype_of<A>);
        const Tensor dx = Tensor::empty(x.shape(), x.dtype()), dgain = Tensor::empty(gain.shape(), dtype_of<A>),
                     dbias = Tensor::empty(gain.shape(), dtype_of<A>);
        normalise_rows_backward(x.data<T>(), gain.data<A>(), g.data<T>(), call.saved(0).data<A>(),
                                call.saved(1).data<A>(), dx.fresh_data<T>(), dgain.fresh_data<A>(),
                                dbias.fresh_data<A>(), x.numel() / n, n);
        if (call.needs(0)) call.set_gradient(0, dx);
        if (call.needs(1)) call.set_gradient(1, dgain);
        if (call.needs(2)) call.set_gradient(2, dbias);
      });
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"rows", {make.normal({3, 5}), make.normal({5}), make.normal({5})}, {}},
              {"sequences", {make.normal({2, 3, 7}), make.normal({7}), make.normal({7})}, {}},
              {"vector", {make.normal({11}), make.normal({11}), make.normal({11})}, {}},
              {"large epsilon", {make.normal({3, 4}), make.normal({4}), make.normal({4})}, {{"epsilon", 0.5}}},
              {"several chunks", {make.normal({131, 3}), make.normal({3}), make.normal({3})}, {}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
      return {{"constant row", {make.values({2, 3}, {5, 5, 5, 0, 0, 0}), make.normal({3}), make.normal({3})}, {}},
              {"one feature", {make.normal({3, 1}), make.normal({1}), make.normal({1})}, {}},
              {"special values", {make.values({3, 2}, {inf, 1, nan, 0, 1e-30, 1}), make.normal({2}), make.normal({2})}, {}},
              {"no rows", {make.normal({0, 3}), make.normal({3}), make.normal({3})}, {}}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"gain", {make.normal({3, 5}), make.normal({4}), make.normal({5})}, {}, "gain must have the shape (5): x (3,5) f64 cpu, gain (4) f64 cpu"},
              {"bias", {make.normal({3, 5}), make.normal({5}), make.normal({1})}, {}, "bias must have the shape (5)"},
              {"nothing", {make.normal({3, 0}), make.normal({0}), make.normal({0})}, {}, "x needs a last axis with elements"},
              {"epsilon", {make.normal({3, 5}), make.normal({5}), make.normal({5})}, {{"epsilon", -1.0}}, "epsilon must not be negative"}};
    };
    spec.error_model.roundings = [](const OpCall& call) { return call.input(0).shape().back() + 10.0; };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors& outputs) {
      double largest = 0;  // xhat can be as large as |x| / deviation before the mean is taken off
      for (double value : call.input(0).to_vector<double>()) largest = std::max(largest, std::fabs(value));
      double result = 1;
      for (double value : outputs[0].to_vector<double>()) result = std::max(result, std::fabs(value));
      return result * (1 + largest);
    };
    spec.cost = [](const OpCall& call) -> Cost {
      const double elements = call.input(0).numel();
      return {8 * elements, 2 * elements * size_in_bytes(call.input(0).dtype())};
    };
    return spec;
  }();
  return op;
}

Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, double epsilon, SourceLocation where) {
  return apply(layer_norm_op(), {x, gain, bias}, {{"epsilon", epsilon}}, where)[0];
}

}  // namespace gradus
