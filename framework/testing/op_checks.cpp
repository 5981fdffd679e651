#include "framework/testing/op_checks.h"

#include <chrono>
#include <cmath>
#include <cstring>

#include "framework/autograd/autograd.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/ops/cost.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/guard_zones.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {
namespace {

constexpr double unit_roundoff_bf16 = 0x1p-8, unit_roundoff_f32 = 0x1p-24, unit_roundoff_f64 = 0x1p-53;

/// Empty, or the first place where the two differ by more than `bound` and that share of what is expected. NaN equals
/// NaN, infinity its like.
std::string first_difference(const Tensor& got, const Tensor& expected, double bound, double share = 0) {
  if (!(got.shape() == expected.shape())) return fmt::format("shape {} where {} is expected", to_string(got.shape()), to_string(expected.shape()));
  const std::vector<double> a = got.to_vector<double>(), b = expected.to_vector<double>();
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (a[i] == b[i] || std::fabs(a[i] - b[i]) <= bound + share * std::fabs(b[i])) continue;
    return fmt::format("element {}: {:.17g} where {:.17g} is expected, bound {:.3g}", i, a[i], b[i], bound);
  }
  return "";
}

double largest(const Tensor& tensor) {
  double result = 0;
  for (double value : tensor.to_vector<double>()) {
    if (std::isfinite(value)) result = std::max(result, std::fabs(value));
  }
  return result;
}

double largest(const Tensors& tensors) {
  double result = 0;
  for (const Tensor& tensor : tensors) result = std::max(result, tensor.defined() ? largest(tensor) : 0.0);
  return result;
}

/// roundings * u * magnitude, from the record's error model.
double rounding_bound(const OpSpec& spec, const OpCall& call, const Tensors& reference, double unit_roundoff) {
  const double magnitude = spec.error_model.magnitude ? spec.error_model.magnitude(call, reference) : largest(reference);
  return spec.error_model.roundings(call) * unit_roundoff * magnitude;
}

/// Values as before in storage that is laid out otherwise: axes reversed in memory, every second element, an offset.
Tensor strange_layout(const Tensor& tensor) {
  if (!tensor.defined() || tensor.rank() == 0) return tensor;
  Shape room, order_strides = Shape::filled(tensor.rank(), 0);
  std::int64_t step = 2;
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    order_strides[axis] = step;
    step *= std::max<std::int64_t>(1, tensor.shape()[axis]);
  }
  const Tensor base = Tensor::empty({step + 3}, tensor.dtype());
  std::memset(base.bytes(), 0, (step + 3) * size_in_bytes(tensor.dtype()));
  const Tensor view = base.window(tensor.shape(), order_strides, 3);
  cpu::copy(view, tensor);
  return view;
}

/// The same numbers for every floating dtype, as all of them hold what bf16 does.
Tensor cotangent_for(const Tensor& output, Generator& generator) {
  return in_dtype({random_normal(output.shape(), generator, DType::bf16)}, output.dtype())[0];
}

struct Run {
  Tensors outputs, gradients;  ///< gradients by input; undefined where not differentiable
};

class RecordChecker {
 public:
  RecordChecker(const OpSpec& spec, const CheckOptions& options) : spec_(spec), options_(options) {}

  RecordReport run() {
    const auto start = std::chrono::steady_clock::now();
    RecordReport report{.op = spec_.name};
    report_ = &report;
    suite("record", [&] { check_record_is_complete(); });
    SampleMaker make(options_.seed);
    samples_ = spec_.samples ? spec_.samples(make) : std::vector<Sample>{};
    edges_ = spec_.edge_samples ? spec_.edge_samples(make) : std::vector<Sample>{};
    each("forward f64", samples_, [&](const Sample& s) { check_forward_f64(s); });
    each("cost", samples_, [&](const Sample& s) { check_cost(s); });
    each("cost of edges", edges_, [&](const Sample& s) { check_cost(s); });
    each("forward f32", samples_, [&](const Sample& s) { check_forward_f32(s); });
    each("bf16", samples_, [&](const Sample& s) { check_bf16(s); });
    each("edge values", edges_, [&](const Sample& s) { check_edge(s); });
    each("layouts", samples_, [&](const Sample& s) { check_layouts(s); });
    each("same bits", samples_, [&](const Sample& s) { check_same_bits(s); });
    each("inputs unmodified", samples_, [&](const Sample& s) { check_inputs_unmodified(s); });
    each("guard zones", samples_, [&](const Sample& s) { check_guard_zones(s); });
    suite("error texts", [&] { check_errors(); });
    if (spec_.is_differentiable()) {
      each("gradcheck", samples_, [&](const Sample& s) { check_gradient(s, 1); });
      if (options_.order > 1) each("gradgradcheck", samples_, [&](const Sample& s) { check_gradient(s, 2); });
      each("kernel and composite", samples_, [&](const Sample& s) { check_kernel_against_composite(s); });
      each("gradient f32", samples_, [&](const Sample& s) { check_gradient_f32(s); });
      each("accumulation", samples_, [&](const Sample& s) { check_accumulation(s); });
      each("zero cotangent", samples_, [&](const Sample& s) { check_zero_cotangent(s); });
      each("some inputs", samples_, [&](const Sample& s) { check_some_inputs(s); });
      each("tape used twice", samples_, [&](const Sample& s) { check_retained_tape(s); });
    }
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report;
  }

 private:
  template <class Body>
  void suite(const std::string& name, Body&& body) {
    report_->suites.push_back({name, {}, 1});
    run("", body);
  }

  template <class Body>
  void each(const std::string& name, const std::vector<Sample>& samples, Body&& body) {
    report_->suites.push_back({name, {}, 0});
    for (const Sample& sample : samples) {
      ++report_->suites.back().cases;
      const std::int64_t alive = live_tensor_count();
      run(sample.label, [&] { body(sample); });
      if (live_tensor_count() != alive) failure(sample.label, fmt::format("{} tensors are still alive", live_tensor_count() - alive));
    }
  }

  /// What `body` throws is the op's failure, but for a lack of memory, which says nothing about the op.
  template <class Body>
  void run(const std::string& label, Body&& body) {
    try {
      body();
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const MemoryError&) {
      throw;
    } catch (const std::exception& error) {
      failure(label, fmt::format("threw: {}", error.what()));
    }
  }

  void failure(const std::string& label, const std::string& what) {
    CheckResult& result = report_->suites.back();
    result.failures.push_back(fmt::format("{}: {}{}{}", result.suite, label, label.empty() ? "" : ": ", what));
  }
  void expect(bool holds, const std::string& label, const std::string& what) {
    if (!holds) failure(label, what);
  }
  void expect_no_difference(const std::string& label, const std::string& what, const std::string& difference) {
    if (!difference.empty()) failure(label, what + ": " + difference);
  }

  std::vector<bool> differentiable(const Tensors& inputs) const { return differentiable_inputs(spec_, inputs); }

  /// Forward on copies (the op may modify them), and the gradient for a fixed random cotangent.
  Run run_op(const Tensors& inputs, const Attributes& attributes, const std::vector<bool>& needs, BackwardOptions options = {}) const {
    Tensors arguments;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      arguments.push_back(spec_.mutates.empty() || !inputs[i].defined() ? (inputs[i].defined() ? inputs[i].alias() : inputs[i]) : cpu::clone(inputs[i]));
      if (needs[i]) arguments[i].set_requires_grad();
    }
    Run run{apply(spec_, arguments, attributes), Tensors(inputs.size())};
    Tensors reached, upstream, wanted;
    Generator generator(11);
    for (const Tensor& output : run.outputs) {
      if (!output.requires_grad()) continue;
      reached.push_back(output);
      upstream.push_back(cotangent_for(output, generator));
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (needs[i]) wanted.push_back(arguments[i]);
    }
    if (!reached.empty()) {
      const Tensors found = grad(reached, wanted, upstream, options);
      for (std::size_t i = 0, next = 0; i < inputs.size(); ++i) {
        if (needs[i]) run.gradients[i] = found[next++].detach();
      }
    }
    for (Tensor& output : run.outputs) output = output.detach();
    return run;
  }
  Run run_op(const Tensors& inputs, const Attributes& attributes) const {
    const bool differentiates = spec_.is_differentiable();
    return run_op(inputs, attributes, differentiates ? differentiable(inputs) : std::vector<bool>(inputs.size(), false));
  }

  OpCall call_of(const Tensors& inputs, const Sample& sample) const { return make_call(spec_, inputs, sample.attributes, SourceLocation::current()); }

  void check_record_is_complete() {
    expect(!spec_.name.empty(), "", "name is missing");
    expect(!spec_.summary.empty() && spec_.summary.back() == '.', "", "summary must be a sentence");
    expect(!spec_.math.empty(), "", "math is missing");
    expect(spec_.infer && spec_.reference && spec_.cpu.forward, "", "infer, reference and cpu.forward are needed");
    expect(static_cast<bool>(spec_.samples), "", "samples are missing");
    expect(static_cast<bool>(spec_.edge_samples), "", "edge samples are missing");
    expect(static_cast<bool>(spec_.error_model.roundings), "", "the error model is missing");
    expect(static_cast<bool>(spec_.cost), "", "cost is missing");
    expect(spec_.error_samples || spec_.name == "identity" || spec_.name == "clone", "", "error samples are missing");
    if (!spec_.is_differentiable()) return;
    expect(!spec_.derivation.empty(), "", "derivation is missing");
    expect(spec_.backward_composite || spec_.saves.all_inputs, "", "no way to second derivatives: backward_composite, or saves.all_inputs and a composite reference");
  }

  void check_forward_f64(const Sample& sample) {
    const Tensors outputs = run_op(sample.inputs, sample.attributes).outputs;
    const Tensors reference = apply_reference(spec_, sample.inputs, sample.attributes);
    expect(outputs.size() == reference.size(), sample.label, "another number of outputs than the reference");
    const double bound = 8 * rounding_bound(spec_, call_of(sample.inputs, sample), reference, unit_roundoff_f64);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      expect(outputs[k].dtype() == reference[k].dtype(), sample.label, "another dtype than the reference");
      expect_no_difference(sample.label, fmt::format("output {}", k), first_difference(outputs[k], reference[k], bound));
    }
  }

  /// Every output is written, and no operand is touched twice, but those that are updated in place.
  void check_cost(const Sample& sample) {
    for (const DType dtype : {DType::f64, DType::f32}) {
      const OpCall call = call_of(in_dtype(sample.inputs, dtype), sample);
      const Cost cost = spec_.cost(call);
      double read = 0, written = 0;
      for (const Tensor& input : call.inputs()) read += bytes_of(input);
      for (const TensorSpec& output : spec_.infer(call)) written += bytes_of(output);
      const double most = written + (spec_.mutates.empty() ? read : 2 * read), least = spec_.is_view ? 0 : written;
      expect(cost.flops >= 0 && std::isfinite(cost.flops), sample.label,
             fmt::format("a cost of {} operations", cost.flops));
      expect(cost.bytes >= least && cost.bytes <= most, sample.label,
             fmt::format("a cost of {} bytes, where {} to {} are read and written", cost.bytes, least, most));
    }
  }

  void check_forward_f32(const Sample& sample) {
    const Tensors single = in_dtype(sample.inputs, DType::f32), wide = in_dtype(single, DType::f64);
    const Tensors outputs = run_op(single, sample.attributes).outputs;
    const Tensors reference = apply_reference(spec_, wide, sample.attributes);
    const double bound = rounding_bound(spec_, call_of(wide, sample), reference, unit_roundoff_f32);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      expect_no_difference(sample.label, fmt::format("output {}", k), first_difference(outputs[k], reference[k], bound));
    }
  }

  void check_edge(const Sample& sample) {
    const Tensors outputs = run_op(sample.inputs, sample.attributes).outputs;
    const Tensors reference = apply_reference(spec_, sample.inputs, sample.attributes);
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      const double bound = 1e-13 * std::max(1.0, largest(reference[k])) * (1 + spec_.error_model.roundings(call_of(sample.inputs, sample)));
      expect_no_difference(sample.label, fmt::format("output {}", k), first_difference(outputs[k], reference[k], bound));
    }
  }

  void check_layouts(const Sample& sample) {
    if (!spec_.mutates.empty()) return;
    const Run plain = run_op(sample.inputs, sample.attributes);
    Tensors strange;
    for (const Tensor& input : sample.inputs) strange.push_back(strange_layout(input));
    const Run other = run_op(strange, sample.attributes);
    const double bound = 8 * rounding_bound(spec_, call_of(sample.inputs, sample), plain.outputs, unit_roundoff_f64);
    for (std::size_t k = 0; k < plain.outputs.size(); ++k) {
      expect_no_difference(sample.label, fmt::format("output {}", k), first_difference(other.outputs[k], plain.outputs[k], bound));
    }
    for (std::size_t i = 0; i < plain.gradients.size(); ++i) {
      if (!plain.gradients[i].defined()) continue;
      expect_no_difference(sample.label, fmt::format("gradient {}", i),
                           first_difference(other.gradients[i], plain.gradients[i], 1e-12 * std::max(largest(plain.gradients[i]), 1e-3)));
    }
  }

  void check_same_bits(const Sample& sample) {
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      if (dtype == DType::bf16 && !spec_.mutates.empty()) continue;
      check_same_bits(sample.label, in_dtype(sample.inputs, dtype), sample.attributes);
    }
  }

  void check_same_bits(const std::string& label, const Tensors& inputs, const Attributes& attributes) {
    const Run first = run_op(inputs, attributes);
    for (int count : {cpu::thread_count(), 1, 3}) {
      const Run again = [&] {
        const cpu::SharingScope everything_is_shared(count);
        return run_op(inputs, attributes);
      }();
      for (std::size_t k = 0; k < first.outputs.size(); ++k) {
        expect(same_bits(first.outputs[k], again.outputs[k]), label, fmt::format("output {} has other bits with {} threads", k, count));
      }
      for (std::size_t i = 0; i < first.gradients.size(); ++i) {
        expect(same_bits(first.gradients[i], again.gradients[i]), label, fmt::format("gradient {} has other bits with {} threads", i, count));
      }
    }
  }

  void check_inputs_unmodified(const Sample& sample) {
    if (!spec_.mutates.empty()) return;
    const Tensors before = clones(sample.inputs);
    run_op(sample.inputs, sample.attributes);
    for (std::size_t i = 0; i < before.size(); ++i) expect(same_bits(before[i], sample.inputs[i]), sample.label, fmt::format("input {} was modified", i));
  }

  void check_guard_zones(const Sample& sample) {
    const GuardScope guards;
    const Run run = run_op(clones(sample.inputs), sample.attributes);
    expect(guards.damaged_blocks() == 0, sample.label, "wrote outside a tensor");
    for (const Tensors* tensors : {&run.outputs, &run.gradients}) {
      for (const Tensor& tensor : *tensors) {
        if (!tensor.defined() || !is_floating(tensor.dtype())) continue;
        for (double value : tensor.to_vector<double>()) {
          if (std::isnan(value)) {
            failure(sample.label, "an element was left unwritten, or is NaN for finite inputs");
            break;
          }
        }
      }
    }
  }

  void check_errors() {
    if (!spec_.error_samples) return;
    SampleMaker make(3);
    for (const ErrorSample& sample : spec_.error_samples(make)) {
      ++report_->suites.back().cases;
      try {
        apply(spec_, sample.inputs, sample.attributes);
        failure(sample.label, "no error was thrown");
      } catch (const Error& error) {
        const std::string text = error.what();
        expect(text.find(sample.expected) != std::string::npos, sample.label, fmt::format("the text '{}' lacks '{}'", text, sample.expected));
        const bool by_op = text.starts_with("[" + spec_.name + "] ") && text.find("op_checks.cpp:") != std::string::npos;
        expect(by_op || dynamic_cast<const UsageError*>(&error), sample.label, fmt::format("the text '{}' does not name op and place", text));
      }
    }
  }

  void check_gradient(const Sample& sample, int order) {
    report_->gradients.push_back(check(spec_, sample, options_, order));
    const CheckReport& report = report_->gradients.back();
    expect(report.verdict != Verdict::disagree, sample.label, "\n" + to_text(report));
  }

  void check_kernel_against_composite(const Sample& sample) {
    const std::vector<bool> needs = differentiable(sample.inputs);
    const Run kernel = run_op(sample.inputs, sample.attributes, needs), composite = run_op(sample.inputs, sample.attributes, needs, {.create_graph = true});
    for (std::size_t i = 0; i < needs.size(); ++i) {
      if (!needs[i] || !kernel.gradients[i].defined()) continue;
      expect_no_difference(sample.label, fmt::format("gradient {}", i),
                           first_difference(kernel.gradients[i], composite.gradients[i], 1e-11 * std::max(largest(composite.gradients[i]), 1e-3)));
    }
  }

  void check_gradient_f32(const Sample& sample) {
    const Tensors single = in_dtype(sample.inputs, DType::f32);
    const Run narrow = run_op(single, sample.attributes),
              wide = run_op(in_dtype(single, DType::f64), sample.attributes);
    const double roundings = 16 + spec_.error_model.roundings(call_of(single, sample));
    for (std::size_t i = 0; i < wide.gradients.size(); ++i) {
      if (!wide.gradients[i].defined()) continue;
      const double bound = 16 * roundings * unit_roundoff_f32 * std::max(1.0, largest(wide.gradients[i]));
      expect_no_difference(sample.label, fmt::format("gradient {}", i), first_difference(narrow.gradients[i], wide.gradients[i], bound));
    }
  }

  /// Computed in f32 and rounded once: outputs, and gradients too unless backward reads an output, which is rounded
  /// then.
  void check_bf16(const Sample& sample) {
    if (!spec_.mutates.empty()) return check_refuses_bf16(sample);
    const Tensors narrow = in_dtype(sample.inputs, DType::bf16), single = in_dtype(narrow, DType::f32);
    const Run rounded = run_op(narrow, sample.attributes), full = run_op(single, sample.attributes);
    const double roundings = 16 * (16 + spec_.error_model.roundings(call_of(single, sample))) * unit_roundoff_f32;
    for (std::size_t k = 0; k < full.outputs.size(); ++k) {
      const double bound = rounding_bound(spec_, call_of(single, sample), full.outputs, 2 * unit_roundoff_f32);
      expect_no_difference(sample.label, fmt::format("output {}", k),
                           first_difference(rounded.outputs[k], full.outputs[k], bound, unit_roundoff_bf16));
    }
    for (std::size_t i = 0; i < full.gradients.size(); ++i) {
      if (!full.gradients[i].defined()) continue;
      const double scale = std::max(1.0, largest(full.gradients[i]));
      const double bound = (roundings + (spec_.saves.outputs.empty() ? 0 : 4 * unit_roundoff_bf16)) * scale;
      expect(rounded.gradients[i].dtype() == narrow[i].dtype(), sample.label,
             "a gradient of another dtype than its input");
      expect_no_difference(sample.label, fmt::format("gradient {}", i),
                           first_difference(rounded.gradients[i], full.gradients[i], bound, unit_roundoff_bf16));
    }
  }

  void check_refuses_bf16(const Sample& sample) {
    try {
      apply(spec_, in_dtype(sample.inputs, DType::bf16), sample.attributes);
      failure(sample.label, "bf16 tensors were updated in place");
    } catch (const Error& error) {
      expect(std::string(error.what()).find("bf16") != std::string::npos, sample.label,
             fmt::format("the text '{}' lacks bf16", error.what()));
    }
  }

  void check_accumulation(const Sample& sample) {
    const std::vector<bool> needs = differentiable(sample.inputs);
    const Run once = run_op(sample.inputs, sample.attributes, needs);
    Tensors leaves = clones(sample.inputs);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (needs[i]) leaves[i].set_requires_grad();
    }
    for (int pass = 0; pass < 2; ++pass) {
      Tensors reached, upstream;
      Generator generator(11);
      for (const Tensor& output : apply(spec_, leaves, sample.attributes)) {
        if (!output.requires_grad()) continue;
        reached.push_back(output);
        upstream.push_back(cotangent_for(output, generator));
      }
      backward(reached, upstream);
    }
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (!needs[i] || !once.gradients[i].defined()) continue;
      const Tensor doubled = once.gradients[i] * 2.0;
      expect_no_difference(sample.label, fmt::format("gradient {}", i), first_difference(leaves[i].gradient(), doubled, 0));
    }
  }

  void check_zero_cotangent(const Sample& sample) {
    const std::vector<bool> needs = differentiable(sample.inputs);
    Tensors leaves = clones(sample.inputs), wanted;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (needs[i]) wanted.push_back(leaves[i].set_requires_grad());
    }
    Tensors reached, upstream;
    for (const Tensor& output : apply(spec_, leaves, sample.attributes)) {
      if (!output.requires_grad()) continue;
      reached.push_back(output);
      upstream.push_back(zeros_like(output));
    }
    for (const Tensor& gradient : grad(reached, wanted, upstream)) {
      expect(!gradient.defined() || first_difference(gradient, zeros_like(gradient), 0).empty(), sample.label, "a zero cotangent gives something else than zero");
    }
  }

  void check_some_inputs(const Sample& sample) {
    const std::vector<bool> needs = differentiable(sample.inputs);
    const Run all = run_op(sample.inputs, sample.attributes, needs);
    for (std::size_t i = 0; i < needs.size(); ++i) {
      if (!needs[i]) continue;
      std::vector<bool> only(needs.size(), false);
      only[i] = true;
      const Run one = run_op(sample.inputs, sample.attributes, only);
      expect(same_bits(one.gradients[i], all.gradients[i]), sample.label, fmt::format("gradient {} changes when it alone is asked for", i));
    }
  }

  void check_retained_tape(const Sample& sample) {
    const std::vector<bool> needs = differentiable(sample.inputs);
    Tensors leaves = clones(sample.inputs), wanted;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (needs[i]) wanted.push_back(leaves[i].set_requires_grad());
    }
    Tensors reached, upstream;
    Generator generator(11);
    for (const Tensor& output : apply(spec_, leaves, sample.attributes)) {
      if (!output.requires_grad()) continue;
      reached.push_back(output);
      upstream.push_back(random_normal(output.shape(), generator, output.dtype()));
    }
    const Tensors first = grad(reached, wanted, upstream, {.retain_graph = true}), second = grad(reached, wanted, upstream);
    for (std::size_t i = 0; i < first.size(); ++i) expect(same_bits(first[i], second[i]), sample.label, "the second pass gives another gradient");
    if (!spec_.saves.all_inputs && spec_.saves.inputs.empty() && spec_.saves.outputs.empty()) return;
    try {
      grad(reached, wanted, upstream);
      failure(sample.label, "a tape that was let go could be used again");
    } catch (const ContractError& error) {
      expect(std::string(error.what()).find("retain_graph") != std::string::npos, sample.label, "the error lacks advice");
    }
  }

  const OpSpec& spec_;
  const CheckOptions& options_;
  RecordReport* report_ = nullptr;
  std::vector<Sample> samples_, edges_;
};

}  // namespace

Verdict RecordReport::verdict() const {
  Verdict worst = passed() ? Verdict::agree : Verdict::disagree;
  for (const CheckReport& gradient : gradients) worst = worse(worst, gradient.verdict);
  return worst;
}

bool RecordReport::passed() const {
  for (const CheckResult& suite : suites) {
    if (!suite.failures.empty()) return false;
  }
  return true;
}

std::string RecordReport::text() const {
  std::string text;
  for (const CheckResult& suite : suites) {
    for (const std::string& failure : suite.failures) text += fmt::format("[{}] {}\n", op, failure);
  }
  return text;
}

RecordReport check_record(const OpSpec& spec, const CheckOptions& options) { return RecordChecker(spec, options).run(); }

}  // namespace gradus::testing
