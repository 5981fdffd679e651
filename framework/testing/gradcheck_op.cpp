// Ops on their samples, first and second order.
#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/ops/registry.h"
#include "framework/tensor/creation.h"
#include "framework/testing/gradcheck.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {
namespace {

/// <a, H b> = <b, H a> for the second derivative H of <f(x), u>: needs no differences.
ContractReport hessian_symmetry(const Subject& second, const Tensors& arguments, std::size_t first_order_inputs,
                                std::uint64_t seed) {
  ContractReport report{.name = "Hessian symmetric"};
  Generator generator(seed, 1u << 21);
  const NoGradScope no_grad;
  const Tensors gradients = second.forward(arguments);
  Tensors a, b;
  for (const Tensor& gradient : gradients) {
    a.push_back(gradient.defined() ? random_normal(gradient.shape(), generator, gradient.dtype()) : Tensor());
    b.push_back(gradient.defined() ? random_normal(gradient.shape(), generator, gradient.dtype()) : Tensor());
  }
  const Tensors of_a = second.backward(arguments, a), of_b = second.backward(arguments, b);
  double b_h_a = 0, a_h_b = 0, magnitude = 0;
  for (std::size_t i = 0, next = 0; i < first_order_inputs; ++i) {
    if (!second.differentiable[i]) continue;
    const std::size_t k = next++;
    if (!a[k].defined()) continue;
    const Numbers left = a[k].to_vector<double>(), right = b[k].to_vector<double>();
    const Numbers h_a = numbers_of(of_a[i], static_cast<std::int64_t>(left.size())),
                  h_b = numbers_of(of_b[i], static_cast<std::int64_t>(left.size()));
    for (std::size_t e = 0; e < left.size(); ++e) {
      b_h_a += right[e] * h_a[e];
      a_h_b += left[e] * h_b[e];
      magnitude += std::fabs(right[e] * h_a[e]) + std::fabs(left[e] * h_b[e]);
    }
  }
  if (!(std::fabs(b_h_a - a_h_b) <= 1e-10 * magnitude)) {
    report.held = false;
    report.finding =
        fmt::format("<b, H a> is {:.12g}, <a, H b> is {:.12g}: the second derivative is not symmetric", b_h_a, a_h_b);
  }
  return report;
}

}  // namespace

CheckReport check(const OpSpec& spec, const Sample& sample, const CheckOptions& options, int order) {
  CheckReport report;
  if (order == 1) {
    report = check(subject_of(spec, sample), in_dtype(sample.inputs, DType::f64), options);
  } else {
    Sample wide = sample;  // differences of differences need f64
    wide.inputs = in_dtype(sample.inputs, DType::f64);
    const Subject second = gradient_subject_of(spec, wide);
    Tensors arguments = wide.inputs;
    Generator generator(options.seed + 1);
    {
      const NoGradScope no_grad;
      for (const Tensor& output : apply(spec, wide.inputs, wide.attributes)) {
        arguments.push_back(output.dtype() == DType::f64 ? random_normal(output.shape(), generator, DType::f64)
                                                         : Tensor());
      }
    }
    CheckOptions second_options = options;
    second_options.contracts = false;
    report = check(second, arguments, second_options);
    report.contracts.push_back(hessian_symmetry(second, arguments, sample.inputs.size(), options.seed));
    if (!report.contracts.back().held) report.verdict = Verdict::disagree;
    report.order = 2;
  }
  report.label = sample.label;
  // The program knows the built-in ops alone.
  const std::vector<const OpSpec*>& known = all_ops();
  if (std::any_of(known.begin(), known.end(), [&](const OpSpec* op) { return op->name == spec.name; })) {
    report.rerun = fmt::format("gradus gradcheck --op {} --sample '{}' --order {} --seed {} --explain", spec.name,
                               sample.label, order, options.seed);
  }
  return report;
}

std::vector<CheckReport> check_orders(const OpSpec& spec, const Sample& sample, const CheckOptions& options) {
  std::vector<CheckReport> reports = {check(spec, sample, options)};
  // The gradient of a wrong gradient would be accused of the same error in other words.
  const bool has_second = spec.backward_composite || spec.reference;
  if (has_second && reports[0].verdict != Verdict::disagree) reports.push_back(check(spec, sample, options, 2));
  return reports;
}

std::vector<CheckReport> check_op(const OpSpec& spec, const CheckOptions& options) {
  if (!spec.samples) fail<UsageError>("[{}] the record has no samples: nothing to check it on", spec.name);
  std::vector<CheckReport> reports;
  if (!spec.is_differentiable()) return reports;
  SampleMaker make(options.seed);
  for (const Sample& sample : spec.samples(make)) {
    for (CheckReport& report : check_orders(spec, sample, options)) reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace gradus::testing
