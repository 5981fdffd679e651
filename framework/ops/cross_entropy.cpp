#include "framework/ops/cross_entropy.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/elements.h"
#include "framework/kernels/shared/scalar_math.h"
#include "framework/ops/cost.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr std::int64_t rows_per_chunk = 32;

std::int64_t counted_rows(const Tensor& targets, std::int64_t ignored) {
  std::int64_t count = 0;
  for (std::int64_t target : targets.to_vector<std::int64_t>()) count += target != ignored;
  return count;
}

/// A loss over bf16 logits is f32.
DType loss_dtype(const Tensor& logits) { return logits.dtype() == DType::bf16 ? DType::f32 : logits.dtype(); }

template <class T, class A = Arithmetic<T>>
A log_sum_exp(const T* x, std::int64_t n) {
  A peak = -std::numeric_limits<A>::infinity();
  for (std::int64_t i = 0; i < n; ++i) {
    const A value = A(x[i]);
    peak = value > peak || value != value ? value : peak;
  }
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += functions::exp(A(x[i]) - peak);
  return peak + std::log(sum);
}

}  // namespace

const OpSpec& cross_entropy_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "cross_entropy";
    spec.summary = "Mean negative log-probability of the target classes, from logits.";
    spec.math = "y = 1/n * sum over counted rows i of (ln sum_j e^(x_ij) - x_i,t(i))";
    spec.derivation = "d(ln sum e^x)/dx_j is the softmax p_j, so dL/dx_ij = g/n (p_ij - 1[j = t(i)]) in counted rows and 0 "
                      "in ignored ones. n counts the rows that are not ignored.";
    spec.pitfalls = "Dividing by all rows in place of the counted ones; gradients in ignored rows; overflow of e^x.";
    spec.inputs = {{"logits"}, {.name = "targets", .differentiable = false}};
    spec.attributes = {{"ignore_index", std::int64_t{-100}, "target value of rows that do not count"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      call.require_dtype(1, DType::i64);
      call.require_rank(0, 2);
      call.require_rank(1, 1);
      const std::int64_t rows = call.input(0).shape()[0], classes = call.input(0).shape()[1], ignored = call.integer("ignore_index");
      if (call.input(1).shape()[0] != rows) call.fail("{} rows of logits but {} targets", rows, call.input(1).shape()[0]);
      const std::int64_t row = elements::first_outside(call.input(1), classes, ignored);
      if (row >= 0) {
        const std::int64_t target = call.input(1).to_vector<std::int64_t>()[static_cast<std::size_t>(row)];
        call.fail("target {} of row {} is outside 0..{}", target, row, classes - 1);
      }
      return {{{}, loss_dtype(call.input(0))}};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      const std::vector<std::int64_t> targets = call.input(1).to_vector<std::int64_t>();
      const Tensor log_probabilities = log_softmax(call.input(0));
      Tensor total = zeros({1, 1}, call.input(0).dtype(), call.device());
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(targets.size()); ++i) {
        if (targets[i] == call.integer("ignore_index")) continue;
        total = total - slice(slice(log_probabilities, 0, i, i + 1), 1, targets[i], targets[i] + 1);
      }
      return {reshape(total, {}) / counted_rows(call.input(1), call.integer("ignore_index"))};
    };
    spec.saves = {.all_inputs = true};
    spec.cpu.bf16 = true;
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor logits = cpu::contiguous(call.input(0)), targets = cpu::contiguous(call.input(1));
      const std::int64_t rows = logits.shape()[0], classes = logits.shape()[1], ignored = call.integer("ignore_index");
      const Tensor log_sums = Tensor::empty({rows}, loss_dtype(logits));
      visit_floating_dtype(logits.dtype(), [&]<class T>() {
        using A = Arithmetic<T>;
        const T* x = logits.data<T>();
        const std::int64_t* target = targets.data<std::int64_t>();
        A* log_sum = log_sums.fresh_data<A>();
        cpu::parallel_for(rows, rows_per_chunk, 8 * classes, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t row = begin; row < end; ++row) {
            log_sum[row] = target[row] == ignored ? A(0) : log_sum_exp(x + row * classes, classes);
          }
        });
        double total = 0;
        std::int64_t count = 0;
        for (std::int64_t row = 0; row < rows; ++row) {
          if (target[row] == ignored) continue;
          total += double(log_sum[row]) - double(x[row * classes + target[row]]);
          ++count;
        }
        *call.output(0).fresh_data<A>() = A(total / count);
      });
      call.save(log_sums);
    };
    spec.cpu.backward = [](BackwardCall& call) {
      const Tensor logits = cpu::contiguous(call.input(0)), targets = cpu::contiguous(call.input(1)), log_sums = call.saved(0);
      const std::int64_t rows = logits.shape()[0], classes = logits.shape()[1], ignored = call.integer("ignore_index");
      const Tensor gradient = Tensor::empty(logits.shape(), logits.dtype());
      const double weight = call.cotangent().item() / counted_rows(targets, ignored);
      visit_floating_dtype(logits.dtype(), [&]<class T>() {
        using A = Arithmetic<T>;
        const T* x = logits.data<T>();
        const A* log_sum = log_sums.data<A>();
        const std::int64_t* target = targets.data<std::int64_t>();
        T* dx = gradient.fresh_data<T>();
        cpu::parallel_for(rows, rows_per_chunk, 8 * classes, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t row = begin; row < end; ++row) {
            const T* from = x + row * classes;
            T* to = dx + row * classes;
            if (target[row] == ignored) {
              std::fill(to, to + classes, T(A(0)));
              continue;
            }
            const A shift = log_sum[row], scale = A(weight);
#pragma omp simd
            for (std::int64_t i = 0; i < classes; ++i) to[i] = T(functions::exp(A(from[i]) - shift) * scale);
            // The one place where terms cancel: rounded once, from what it is made of.
            to[target[row]] = T((functions::exp(A(from[target[row]]) - shift) - A(1)) * scale);
          }
        });
      });
      call.set_gradient(0, gradient);
    };
    const auto ignoring = [](std::int64_t index) { return Attributes{{"ignore_index", index}}; };
    const auto targets = [](const std::vector<std::int64_t>& values) {
      return from_values({static_cast<std::int64_t>(values.size())}, values);
    };
    spec.samples = [=](SampleMaker& make) -> std::vector<Sample> {
      return {{"all rows", {make.normal({3, 5}), targets({4, 0, 2})}, {}},
              {"some ignored", {make.normal({5, 3}), targets({0, 2, 0, 1, 1})}, ignoring(0)},
              {"one row", {make.normal({1, 7}), targets({6})}, {}},
              {"one class", {make.normal({3, 1}), targets({0, 0, 0})}, {}},
              {"many rows", {make.normal({67, 11}), make.integers({67}, 0, 10)}, ignoring(0)}};
    };
    spec.edge_samples = [=](SampleMaker& make) -> std::vector<Sample> {
      return {{"large logits", {make.values({2, 3}, {1000, 990, 0, -1000, 1e4, 1e4}), targets({0, 2})}, {}},
              {"impossible class", {make.values({2, 2}, {-inf, 0, 0, 1}), targets({1, 0})}, {}},
              {"infinite loss", {make.values({1, 2}, {-inf, 0}), targets({0})}, {}},
              {"all ignored", {make.normal({2, 3}), targets({0, 0})}, ignoring(0)},
              {"NaN in an ignored row", {make.values({2, 2}, {NAN, 0, 0, 1}), targets({0, 1})}, ignoring(0)}};
    };
    spec.error_samples = [=](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"class", {make.normal({2, 3}), targets({0, 3})}, {}, "target 3 of row 1 is outside 0..2: logits (2,3) f64 cpu, targets (2) i64 cpu"},
              {"count", {make.normal({2, 3}), targets({0})}, {}, "2 rows of logits but 1 targets"},
              {"dtype", {make.normal({2, 3}), make.normal({2})}, {}, "targets must be i64, not f64"},
              {"rank", {make.normal({2, 2, 3}), targets({0, 1})}, {}, "logits must have 2 axes, not 3"}};
    };
    spec.error_model.roundings = [](const OpCall& call) { return call.input(0).shape()[1] + 8.0; };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors& outputs) {
      double largest = std::fabs(outputs[0].item());
      for (double value : call.input(0).to_vector<double>()) {
        if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
      }
      return largest;
    };
    spec.cost = [](const OpCall& call) -> Cost { return {12.0 * call.input(0).numel(), bytes_of_operands(call)}; };
    return spec;
  }();
  return op;
}

Tensor cross_entropy(const Tensor& logits, const Tensor& targets, std::int64_t ignore_index, SourceLocation where) {
  return apply(cross_entropy_op(), {logits, targets}, {{"ignore_index", ignore_index}}, where)[0];
}

}  // namespace gradus
