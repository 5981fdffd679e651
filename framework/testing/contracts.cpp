#include "framework/testing/contracts.h"

#include "framework/autograd/modes.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/tensor/creation.h"
#include "framework/testing/contract_checker.h"

namespace gradus::testing {

ContractChecker::ContractChecker(const CheckedPoint& point, const Tensors& gradients,
                                 const std::vector<Numbers>& own_rounding)
    : point_(point),
      subject_(point.subject),
      line_(point.line),
      inputs_(point.line.inputs()),
      cotangents_(point.cotangents),
      options_(point.options),
      own_rounding_(own_rounding),
      generator_(point.options.seed, 1u << 20) {
  yours_ = values_of(gradients);
}

std::vector<ContractReport> ContractChecker::run() {
  inputs_unmodified();
  if (!broken()) same_again();
  if (!broken()) nothing_left_over();
  if (!broken()) same_for_any_thread_count();
  if (!broken()) linear();
  if (!broken()) missing_cotangent();
  if (!broken()) strided_inputs();
  return std::move(reports_);
}

ContractChecker::Values ContractChecker::values_of(const Tensors& gradients) const {
  Values values;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    values.push_back(subject_.differentiable[i] ? numbers_of(gradients[i], inputs_[i].numel()) : Numbers{});
  }
  return values;
}

Tensors ContractChecker::forward_at(const Tensors& inputs) const {
  const NoGradScope no_grad;
  return subject_.forward(inputs);
}

double ContractChecker::rounding(std::size_t input) const {
  return inputs_[input].dtype() == DType::f64 && subject_.backward_dtype == DType::f64 ? 1e-11 : 1e-4;
}

double ContractChecker::rounding() const {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (subject_.differentiable[i] && rounding(i) > 1e-6) return 1e-4;
  }
  return 1e-11;
}

double ContractChecker::unexplained(std::size_t input, const Numbers& a, const Numbers& b) const {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t e = 0; e < a.size(); ++e) {
    if (a[e] == b[e] || (std::isnan(a[e]) && std::isnan(b[e]))) continue;
    const double difference = std::fabs(a[e] - b[e]);
    if (!(difference <= 2 * own_rounding_[input][e]))
      largest = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(largest, difference);
  }
  return largest;
}

int ContractChecker::differing_input(const Values& a, const Values& b, double relative) const {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].empty()) continue;
    const double scale = std::max(largest_magnitude(a[i]), largest_magnitude(b[i]));
    if (relative > 1e-12 && scale <= line_.negligible_gradient(i)) continue;  // rounding alone
    if (!(unexplained(i, a[i], b[i]) <= relative * scale)) return static_cast<int>(i);
  }
  return -1;
}

void ContractChecker::inputs_unmodified() {
  constexpr const char* name = "inputs unmodified";
  for (const bool in_backward : {false, true}) {
    const Tensors given = clones(inputs_), upstream = clones(cotangents_);
    if (in_backward) subject_.backward(given, upstream);
    else forward_at(given);
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (same_bits(given[i], inputs_[i])) continue;
      return broken_by(
          name, Cause::modifies_input,
          fmt::format("{} changes its input '{}'", in_backward ? "backward" : "forward", subject_.inputs[i]));
    }
    for (std::size_t k = 0; k < upstream.size(); ++k) {
      if (!same_bits(upstream[k], cotangents_[k]))
        return broken_by(name, Cause::modifies_input, "backward changes the upstream gradient");
    }
  }
  held(name);
}

void ContractChecker::same_for_any_thread_count() {
  constexpr const char* name = "same for 1 and 3 threads";
  if (subject_.own_process) return left_out(name, "a process of its own");
  for (const int count : {1, 3}) {
    const Values now = [&] {
      const cpu::SharingScope everything_is_shared(count);
      return gradients_at(inputs_, cotangents_);
    }();
    if (const int i = differing_input(yours_, now, 0); i >= 0) {
      return broken_by(name, Cause::not_deterministic,
                       fmt::format("the gradient of '{}' is another with {} threads", subject_.inputs[i], count));
    }
  }
  held(name);
}

void ContractChecker::missing_cotangent() {
  constexpr const char* name = "an output that nothing depends on";
  if (subject_.own_process) return left_out(name, "always given, as zeros");
  int floating = 0;
  for (const Tensor& cotangent : cotangents_) floating += cotangent.defined();
  if (floating < 2) return left_out(name, "one output");
  for (std::size_t k = 0; k < cotangents_.size(); ++k) {
    if (!cotangents_[k].defined()) continue;
    Tensors without = cotangents_, with_zero = cotangents_;
    without[k] = Tensor();
    with_zero[k] = zeros_like(cotangents_[k]);
    if (const int i = differing_input(gradients_at(inputs_, with_zero), gradients_at(inputs_, without), rounding());
        i >= 0) {
      return broken_by(name, Cause::upstream_partly_used,
                       fmt::format("gradient of '{}': no upstream gradient for output {} is not the same as zero",
                                   subject_.inputs[i], k));
    }
  }
  held(name);
}

void ContractChecker::strided_inputs() {
  constexpr const char* name = "any memory layout";
  if (subject_.own_process) return left_out(name, "always contiguous");
  Tensors strange;
  bool any = false;
  for (const Tensor& input : inputs_) {
    if (!input.defined() || input.rank() == 0 || input.numel() < 2) {
      strange.push_back(input);
      continue;
    }
    Shape strides = Shape::filled(input.rank(), 0);  // axes reversed in memory, every second element, an offset
    std::int64_t step = 2;
    for (int axis = 0; axis < input.rank(); ++axis) {
      strides[axis] = step;
      step *= std::max<std::int64_t>(1, input.shape()[axis]);
    }
    const Tensor room = zeros({step + 3}, input.dtype()), view = room.window(input.shape(), strides, 3);
    cpu::copy(view, input);
    strange.push_back(view);
    any = true;
  }
  if (!any) return left_out(name, "scalars only");
  const Tensors outputs = forward_at(strange);
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    if (!cotangents_[k].defined()) continue;
    const Numbers now = outputs[k].to_vector<double>(), before = line_.outputs()[k].to_vector<double>();
    if (largest_difference(now, before) <= rounding() * largest_magnitude(before)) continue;
    return broken_by(name, Cause::memory_layout,
                     fmt::format("output {} is another when the inputs are transposed or strided in memory", k));
  }
  if (const int i = differing_input(yours_, gradients_at(strange, cotangents_), rounding()); i >= 0) {
    return broken_by(
        name, Cause::memory_layout,
        fmt::format("the gradient of '{}' is another when the inputs are transposed or strided in memory",
                    subject_.inputs[i]));
  }
  held(name);
}

std::vector<ContractReport> check_contracts(const CheckedPoint& point, const Tensors& gradients,
                                            const std::vector<Numbers>& own_rounding) {
  return ContractChecker(point, gradients, own_rounding).run();
}

}  // namespace gradus::testing
