#include "framework/ops/layer_norm.h"

#include <cmath>
#include <limits>

#include "framework/autograd/modes.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/prefetch.h"
#include "framework/kernels/shared/row_unit.h"
#include "framework/ops/dropout_mask.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

constexpr std::int64_t rows_per_chunk = 64;
constexpr std::int64_t rows_ahead = 2;

/// y of the row of values x(i), its mean and its reciprocal deviation; returns its variance plus epsilon.
template <class X, class T, class A>
A normalise_values(const X& x, const A* gain, const A* bias, T* y, A& mean, A& scale, std::int64_t n, A epsilon) {
  A sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += x(i);
  const A centre = sum / A(n);
#pragma omp simd reduction(+ : squares)
  for (std::int64_t i = 0; i < n; ++i) squares += (x(i) - centre) * (x(i) - centre);
  const A spread = squares / A(n) + epsilon, inverse = A(1) / std::sqrt(spread);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] = T((x(i) - centre) * inverse * gain[i] + bias[i]);
  mean = centre;
  scale = inverse;
  return spread;
}

/// y of one row, its mean and its reciprocal deviation; once more, in another unit, where the first gives no variance.
template <class X, class T, class A = Arithmetic<T>>
void normalise_row(const X* x, const A* gain, const A* bias, T* y, A& mean, A& scale, std::int64_t n, A epsilon) {
  const auto value = [x](std::int64_t i) { return A(x[i]); };
  const A unit = row_unit(normalise_values(value, gain, bias, y, mean, scale, n, epsilon));
  if (unit == A(1)) return;
  const auto in_unit = [x, unit](std::int64_t i) { return A(x[i]) * unit; };
  normalise_values(in_unit, gain, bias, y, mean, scale, n, epsilon * unit * unit);
  mean /= unit;
  scale *= unit;
}

/// dx of one row; adds its g xhat and g to the sums for gain and bias.
template <class T, class DX, class A = Arithmetic<T>>
void normalise_row_backward(const T* x, const A* gain, const T* g, A mean, A scale, DX* dx, A* gain_sum, A* bias_sum,
                            std::int64_t n) {
  A mean_h = 0, mean_hx = 0;
#pragma omp simd reduction(+ : mean_h, mean_hx)
  for (std::int64_t i = 0; i < n; ++i) {
    const A xhat = (A(x[i]) - mean) * scale, h = A(g[i]) * gain[i];
    mean_h += h;
    mean_hx += h * xhat;
  }
  mean_h /= A(n);
  mean_hx /= A(n);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const A xhat = (A(x[i]) - mean) * scale;
    dx[i] = DX(scale * (A(g[i]) * gain[i] - mean_h - xhat * mean_hx));
    gain_sum[i] += A(g[i]) * xhat;
    bias_sum[i] += A(g[i]);
  }
}

/// Sums of rows for gain and bias, (n) each: by chunks of rows, then these in order.
template <class A>
class ParameterSums {
 public:
  ParameterSums(std::int64_t rows, std::int64_t n)
      : n_(n), partial_(static_cast<std::size_t>((rows + rows_per_chunk - 1) / rows_per_chunk * 2 * n), A(0)) {}
  A* gain(std::int64_t first_row) { return partial_.data() + first_row / rows_per_chunk * 2 * n_; }
  A* bias(std::int64_t first_row) { return gain(first_row) + n_; }

  void add_up(A* dgain, A* dbias) const {
    std::fill(dgain, dgain + n_, A(0));
    std::fill(dbias, dbias + n_, A(0));
    for (const A* from = partial_.data(); from != partial_.data() + partial_.size(); from += 2 * n_) {
      for (std::int64_t i = 0; i < n_; ++i) dgain[i] += from[i];
      for (std::int64_t i = 0; i < n_; ++i) dbias[i] += from[n_ + i];
    }
  }

 private:
  std::int64_t n_;
  std::vector<A> partial_;
};

/// x (rows, n) -> y (rows, n), mean (rows), reciprocal deviation (rows).
template <class T, class A = Arithmetic<T>>
void normalise_rows(const T* x, const A* gain, const A* bias, T* y, A* mean, A* scale, std::int64_t rows,
                    std::int64_t n, A epsilon) {
  cpu::parallel_for(rows, rows_per_chunk, 4 * n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      cpu::prefetch(x + row * n, rows_ahead * n, n);
      normalise_row(x + row * n, gain, bias, y + row * n, mean[row], scale[row], n, epsilon);
    }
  });
}

template <class T, class A = Arithmetic<T>>
void normalise_rows_backward(const T* x, const A* gain, const T* g, const A* mean, const A* scale, T* dx, A* dgain,
                             A* dbias, std::int64_t rows, std::int64_t n) {
  ParameterSums<A> sums(rows, n);
  cpu::parallel_for(rows, rows_per_chunk, 4 * n, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      cpu::prefetch(x + row * n, rows_ahead * n, n);
      cpu::prefetch(g + row * n, rows_ahead * n, n);
      normalise_row_backward(x + row * n, gain, g + row * n, mean[row], scale[row], dx + row * n, sums.gain(begin),
                             sums.bias(begin), n);
    }
  });
  sums.add_up(dgain, dbias);
}

/// sum = residual + dropped update, y = its layer norm; all (rows, n).
template <class T, class A = Arithmetic<T>>
void add_and_normalise_rows(const T* residual, const T* update, const cpu::DropoutMask& mask, const A* gain,
                            const A* bias, T* sum, T* y, A* mean, A* scale, std::int64_t rows, std::int64_t n,
                            A epsilon) {
  cpu::parallel_for(rows, rows_per_chunk, 8 * n, [&](std::int64_t begin, std::int64_t end) {
    std::vector<A> total(n);
    std::vector<std::uint32_t> words(cpu::DropoutMask::room(n));
    for (std::int64_t row = begin; row < end; ++row) {
      cpu::prefetch(residual + row * n, rows_ahead * n, n);
      cpu::prefetch(update + row * n, rows_ahead * n, n);
      mask.add(residual + row * n, update + row * n, row * n, n, words.data(), total.data());
      T* to = sum + row * n;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) to[i] = T(total[i]);
      normalise_row(total.data(), gain, bias, y + row * n, mean[row], scale[row], n, epsilon);
    }
  });
}

/// From the cotangents of y and of the sum. dupdate may be null.
template <class T, class A = Arithmetic<T>>
void add_and_normalise_rows_backward(const T* sum, const A* gain, const T* g, const T* g_sum,
                                     const cpu::DropoutMask& mask, const A* mean, const A* scale, T* dresidual,
                                     T* dupdate, A* dgain, A* dbias, std::int64_t rows, std::int64_t n) {
  ParameterSums<A> sums(rows, n);
  cpu::parallel_for(rows, rows_per_chunk, 8 * n, [&](std::int64_t begin, std::int64_t end) {
    std::vector<A> total(n);
    std::vector<std::uint32_t> words(cpu::DropoutMask::room(n));
    for (std::int64_t row = begin; row < end; ++row) {
      for (const T* from : {sum, g, g_sum}) cpu::prefetch(from + row * n, rows_ahead * n, n);
      normalise_row_backward(sum + row * n, gain, g + row * n, mean[row], scale[row], total.data(), sums.gain(begin),
                             sums.bias(begin), n);
      const T* direct = g_sum + row * n;
      T* to = dresidual + row * n;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        total[i] += A(direct[i]);
        to[i] = T(total[i]);
      }
      if (dupdate) mask.drop(total.data(), row * n, n, words.data(), dupdate + row * n);
    }
  });
  sums.add_up(dgain, dbias);
}

void check_parameters(const OpCall& call, std::size_t gain) {
  call.require_parameter_dtype(0, gain);
  call.require_parameter_dtype(0, gain + 1);
  const TensorSpec x = call.input(0).spec();
  if (x.shape.rank() == 0 || x.shape.back() == 0) call.fail("{} needs a last axis with elements", call.input_name(0));
  const Shape features{x.shape.back()};
  if (!(call.input(gain).shape() == features)) call.fail("gain must have the shape {}", to_string(features));
  if (!(call.input(gain + 1).shape() == features)) call.fail("bias must have the shape {}", to_string(features));
  if (!(call.number("epsilon") >= 0)) call.fail("epsilon must not be negative");
}

struct NormalisedRows {
  Tensor xhat, scale;  ///< (..., n), and 1 / sqrt(variance + epsilon) (..., 1)
};

/// Rows divided by their deviation, as a composite. `unit` (..., 1) is what they are multiplied by first.
NormalisedRows normalised_in(const Tensor& unit, const Tensor& x, double epsilon) {
  const Tensor in_unit = x * unit;
  const Tensor centred = in_unit - mean(in_unit, {-1}, true);
  const Tensor inverse = 1 / sqrt(mean(centred * centred, {-1}, true) + epsilon * unit * unit);
  return {centred * inverse, inverse * unit};
}

/// Each row's row_unit() (..., 1), a constant.
Tensor units_of_rows(const Tensor& x, double epsilon) {
  const NoGradScope constant;
  const auto number = [&](double value) { return scalar(value, x.dtype(), x.device()); };
  const Tensor centred = x - mean(x, {-1}, true), spread = mean(centred * centred, {-1}, true) + epsilon;
  const auto choose = [&]<class A>(RowUnits<A>) {
    const Tensor ordinary = less_equal(spread, number(RowUnits<A>::most));
    return where(less(spread, number(RowUnits<A>::least)), number(RowUnits<A>::larger),
                 where(ordinary, number(1), number(RowUnits<A>::smaller)));
  };
  return x.dtype() == DType::f64 ? choose(RowUnits<double>()) : choose(RowUnits<float>());
}

NormalisedRows normalised(const Tensor& x, double epsilon) { return normalised_in(units_of_rows(x, epsilon), x, epsilon); }

/// xhat can be as large as |x| / deviation before the mean is taken off.
double magnitude_of(double largest_x, const Tensor& y) {
  double result = 1;
  for (double value : y.to_vector<double>()) result = std::max(result, std::fabs(value));
  return result * (1 + largest_x);
}

double largest_of(const Tensor& x) {
  double largest = 0;
  for (double value : x.to_vector<double>()) largest = std::max(largest, std::fabs(value));
  return largest;
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
    spec.pitfalls = "Leaving out one of the two mean terms; dividing by n - 1; squares that overflow, in f32 beyond 1e19, "
                    "and give an output of 0: such rows are measured in another unit.";
    spec.inputs = {{"x"}, {"gain"}, {"bias"}};
    spec.attributes = {{"epsilon", 1e-5, "added to the variance"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      check_parameters(call, 1);
      return {call.input(0).spec()};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      return {normalised(call.input(0), call.number("epsilon")).xhat * call.input(1) + call.input(2)};
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
              {"squares overflow", {make.values({3, 2}, {1e200, -3e200, 1e308, 1.5e308, 1, 2}), make.normal({2}), make.normal({2})}, {}},
              {"squares underflow", {make.values({2, 2}, {1e-200, -3e-200, 1, 2}), make.normal({2}), make.normal({2})}, {{"epsilon", 0.0}}},
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
      return magnitude_of(largest_of(call.input(0)), outputs[0]);
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

const OpSpec& dropout_add_layer_norm_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "dropout_add_layer_norm";
    spec.summary =
        "Adds an update, some of its elements dropped, to a residual stream, and normalises the sum: dropout, "
        "add and layer_norm in one pass.";
    spec.math = "sum = residual + dropout(update), out = layer_norm(sum, gain, bias)";
    spec.derivation =
        "With g of out and r of the sum: the total gradient of the sum is t = r + dL/dx of layer_norm at the "
        "sum. dL/dresidual = t, dL/dupdate = t with the elements dropped that were; gain and bias as in "
        "layer_norm.";
    spec.source =
        "Ba, Kiros and Hinton 2016, arXiv:1607.06450, equation 4, in the pre-norm Transformer of Xiong et al. "
        "2020, arXiv:2002.04745, figure 1";
    spec.pitfalls = "Forgetting the gradient that reaches the sum on the way past the norm.";
    spec.inputs = {{"residual"}, {"update"}, {"gain"}, {"bias"}};
    spec.outputs = {"out", "sum"};
    spec.attributes = draw_attributes(0);
    spec.attributes.insert(spec.attributes.begin(), {"epsilon", 1e-5, "added to the variance"});
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      call.require_same_dtype(0, 1);
      if (!(call.input(0).shape() == call.input(1).shape())) call.fail("update must have the shape of residual");
      check_parameters(call, 2);
      require_probability(call);
      return {call.input(0).spec(), call.input(0).spec()};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Tensor sum = call.input(0) + apply_reference(dropout_op(), {call.input(1)}, draw_of(call), call.where())[0];
      return {normalised(sum, call.number("epsilon")).xhat * call.input(2) + call.input(3), sum};
    };
    spec.saves = {.inputs = {2}, .outputs = {1}};
    spec.cpu.bf16 = true;
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor residual = cpu::contiguous(call.input(0)), update = cpu::contiguous(call.input(1));
      const std::int64_t n = residual.shape().back(), rows = residual.numel() / n;
      visit_floating_dtype(residual.dtype(), [&]<class T>() {
        using A = Arithmetic<T>;
        const Tensor gain = cpu::contiguous(call.input(2), dtype_of<A>),
                     bias = cpu::contiguous(call.input(3), dtype_of<A>);
        const Tensor mean = Tensor::empty({rows}, dtype_of<A>), scale = Tensor::empty({rows}, dtype_of<A>);
        add_and_normalise_rows(residual.data<T>(), update.data<T>(), dropout_mask(call.attributes()), gain.data<A>(),
                               bias.data<A>(), call.output(1).fresh_data<T>(), call.output(0).fresh_data<T>(),
                               mean.fresh_data<A>(), scale.fresh_data<A>(), rows, n, A(call.number("epsilon")));
        if (call.will_run_backward()) {
          call.save(mean);
          call.save(scale);
        }
      });
    };
    spec.cpu.backward = [](BackwardCall& call) {
      const Tensor sum = cpu::contiguous(call.output(1)), g = cpu::contiguous(call.cotangent(0)),
                   g_sum = cpu::contiguous(call.cotangent(1));
      const std::int64_t n = sum.shape().back();
      const bool drops = call.number("probability") > 0;
      visit_floating_dtype(sum.dtype(), [&]<class T>() {
        using A = Arithmetic<T>;
        const Tensor gain = cpu::contiguous(call.input(2), dtype_of<A>);
        const Tensor total = Tensor::empty(sum.shape(), sum.dtype()),
                     dupdate = drops ? Tensor::empty(sum.shape(), sum.dtype()) : total,
                     dgain = Tensor::empty(gain.shape(), dtype_of<A>), dbias = Tensor::empty(gain.shape(), dtype_of<A>);
        add_and_normalise_rows_backward(sum.data<T>(), gain.data<A>(), g.data<T>(), g_sum.data<T>(),
                                        dropout_mask(call.attributes()), call.saved(0).data<A>(),
                                        call.saved(1).data<A>(), total.fresh_data<T>(),
                                        drops ? dupdate.fresh_data<T>() : nullptr, dgain.fresh_data<A>(),
                                        dbias.fresh_data<A>(), sum.numel() / n, n);
        call.set_gradient(0, total);
        call.set_gradient(1, dupdate);
        call.set_gradient(2, dgain);
        call.set_gradient(3, dbias);
      });
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor sum = call.output(1), g = call.cotangent(0);
      const auto [xhat, scale] = normalised(sum, call.number("epsilon"));
      const Tensor h = g * call.input(2);
      const Tensor total = call.cotangent(1) + scale * (h - mean(h, {-1}, true) - xhat * mean(h * xhat, {-1}, true));
      call.set_gradient(0, total);
      call.set_gradient(1, dropout(total, call.number("probability"), call.integer("seed"), call.integer("stream")));
      call.set_gradient(2, g * xhat);
      call.set_gradient(3, g);
    };
    const auto inputs = [](SampleMaker& make, const Shape& shape) -> Tensors {
      const Shape features{shape.back()};
      return {make.normal(shape), make.normal(shape), make.normal(features), make.normal(features)};
    };
    spec.samples = [=](SampleMaker& make) -> std::vector<Sample> {
      return {{"nothing dropped", inputs(make, {3, 5}), {}},
              {"tenth", inputs(make, {2, 3, 7}), drawn(0.1, 5, 1)},
              {"half", inputs(make, {5, 4}), drawn(0.5, 5, 2)},
              {"vector", inputs(make, {11}), drawn(0.3, 5, 3)},
              {"large epsilon", inputs(make, {3, 4}), {{"epsilon", 0.5}}},
              {"several chunks", inputs(make, {131, 9}), drawn(0.2, 5, 4)}};
    };
    spec.edge_samples = [=](SampleMaker& make) -> std::vector<Sample> {
      const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
      return {{"constant row",
               {make.values({1, 3}, {5, 4, 3}), make.values({1, 3}, {0, 1, 2}), make.normal({3}), make.normal({3})},
               {}},
              {"one feature", inputs(make, {3, 1}), drawn(0.5, 5, 1)},
              {"special values",
               {make.values({3, 2}, {inf, 1, nan, 0, 1e-30, 1}), make.values({3, 2}, {0, 1, 2, nan, inf, -inf}),
                make.normal({2}), make.normal({2})},
               drawn(0.5, 5, 1)},
              {"squares overflow",
               {make.values({2, 2}, {1e200, -3e200, 1, 2}), make.values({2, 2}, {1e200, 2e200, 1, 2}), make.normal({2}),
                make.normal({2})},
               {}},
              {"no rows", inputs(make, {0, 3}), drawn(0.5, 5, 1)}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      const Tensor x = make.normal({3, 5}), five = make.normal({5});
      return {{"update",
               {x, five, five, five},
               {},
               "update must have the shape of residual: residual (3,5) f64 cpu, update (5) f64 cpu"},
              {"gain", {x, x, make.normal({4}), five}, {}, "gain must have the shape (5)"},
              {"bias", {x, x, five, make.normal({1})}, {}, "bias must have the shape (5)"},
              {"nothing",
               {make.normal({3, 0}), make.normal({3, 0}), make.normal({0}), make.normal({0})},
               {},
               "residual needs a last axis with elements"},
              {"probability", {x, x, five, five}, {{"probability", 1.0}}, "probability must be in [0, 1)"},
              {"epsilon", {x, x, five, five}, {{"epsilon", -1.0}}, "epsilon must not be negative"}};
    };
    spec.error_model.roundings = [](const OpCall& call) { return call.input(0).shape().back() + 12.0; };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors& outputs) {
      return magnitude_of(largest_of(call.input(0)) + largest_of(call.input(1)) / (1 - call.number("probability")),
                          outputs[0]);
    };
    spec.cost = [](const OpCall& call) -> Cost {
      const double elements = call.input(0).numel();
      return {10 * elements, 4 * elements * size_in_bytes(call.input(0).dtype())};
    };
    return spec;
  }();
  return op;
}

NormalisedSum dropout_add_layer_norm(const Tensor& residual, const Tensor& update, const Tensor& gain,
                                     const Tensor& bias, double epsilon, const DropoutDraw& draw,
                                     SourceLocation where) {
  const Tensors outputs = apply(
      dropout_add_layer_norm_op(), {residual, update, gain, bias},
      {{"epsilon", epsilon}, {"probability", draw.probability}, {"seed", draw.seed}, {"stream", draw.stream}}, where);
  return {outputs[0], outputs[1]};
}

}  // namespace gradus
