#include "framework/testing/gradcheck.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "framework/tensor/creation.h"
#include "framework/testing/contracts.h"
#include "framework/testing/hints.h"
#include "framework/testing/input_check.h"
#include "framework/testing/jacobian.h"
#include "framework/testing/line.h"
#include "framework/testing/numbers.h"
#include "framework/testing/own_rounding.h"

namespace gradus::testing {
namespace {

/// Far from the streams that inputs are drawn from: a cotangent that equals an input would hide their exchange.
constexpr std::uint64_t cotangent_stream = std::uint64_t{1} << 50;

class Checker {
 public:
  Checker(const Subject& subject, const Tensors& inputs, const CheckOptions& options)
      : subject_(subject), options_(options), line_(subject, inputs), generator_(options.seed, cotangent_stream) {}

  CheckReport run() {
    if (options_.directions < 1) fail<UsageError>("directions must be at least 1, not {}", options_.directions);
    const auto start = std::chrono::steady_clock::now();
    report_.subject = subject_.name;
    report_.seed = options_.seed;
    for (std::size_t i = 0; i < line_.inputs().size(); ++i) {
      if (line_.inputs()[i].defined())
        report_.call +=
            fmt::format("{}{}{} {}", i ? "  " : "", subject_.inputs[i], to_string(line_.inputs()[i].shape()),
                        to_string(is_floating(line_.inputs()[i].dtype()) && subject_.backward_dtype != DType::f64
                                      ? subject_.backward_dtype
                                      : line_.inputs()[i].dtype()));
    }
    draw_cotangents();
    leave_out_what_has_no_differences();
    gradients_ = subject_.backward(clones(line_.inputs()), clones(cotangents_));
    if (!shapes_are_right()) return finish(start);
    const std::vector<Numbers> rounding = own_rounding(subject_, line_, cotangents_, gradients_, options_.seed);
    const CheckedPoint point{subject_, line_, cotangents_, options_, has_nan_outputs_};
    if (options_.contracts) {
      for (ContractReport& contract : check_contracts(point, gradients_, rounding))
        report_.contracts.push_back(std::move(contract));
    }
    for (std::size_t i = 0; i < line_.inputs().size(); ++i) {
      if (!subject_.differentiable[i]) continue;
      report_.inputs.push_back(check_input(point, i, gradients_[i], rounding[i]));
      if (options_.on_input) options_.on_input(report_.inputs.back());
    }
    judge_forward_mode();
    if (options_.hints) look_for_hint();
    return finish(start);
  }

 private:
  void draw_cotangents() {
    for (const Tensor& output : line_.outputs()) {
      const bool counts = output.defined() && (output.dtype() == DType::f64 || output.dtype() == DType::f32);
      cotangents_.push_back(
          counts ? random_normal(output.shape(), generator_, output.dtype(), 0, options_.cotangent_scale) : Tensor());
    }
    line_.set_cotangents(cotangents_);
  }

  bool shapes_are_right() {
    std::string finding;
    if (gradients_.size() != line_.inputs().size()) {
      finding = fmt::format("backward returned {} gradients for {} inputs", gradients_.size(), line_.inputs().size());
    }
    for (std::size_t i = 0; finding.empty() && i < gradients_.size(); ++i) {
      if (!subject_.differentiable[i] || !gradients_[i].defined() || gradients_[i].spec() == line_.inputs()[i].spec())
        continue;
      finding = fmt::format("the gradient of '{}' is {}, the input is {}", subject_.inputs[i], gradients_[i].describe(),
                            line_.inputs()[i].describe());
    }
    report_.contracts.push_back(
        {.name = "shapes and dtypes", .held = finding.empty(), .finding = finding, .cause = Cause::wrong_shape});
    return finding.empty();
  }

  /// What an author wrote beside their backward is theirs to answer for.
  void judge_forward_mode() {
    if (!subject_.own_process || !subject_.tangent_of) return;
    ContractReport jvp{.name = "jvp"};
    for (const InputReport& input : report_.inputs) {
      if (input.refuted.empty()) continue;
      jvp.held = false;
      jvp.finding = fmt::format("jvp, for '{}': {}", input.name, input.refuted);
    }
    report_.contracts.push_back(std::move(jvp));
  }

  void look_for_hint() {
    for (const ContractReport& contract : report_.contracts) {
      if (contract.held) continue;
      if (contract.cause == Cause::unknown) {
        report_.hint = Hint{Cause::unknown, "", contract.finding};
        return;
      }
      report_.hint = hint_of_broken_promise(subject_, line_, cotangents_, gradients_, report_, contract);
      if (report_.hint) return;
    }
    const JudgeElsewhere judge = [&](Line& line, const Tensors& cotangents, const Tensors& gradients, std::size_t i) {
      CheckOptions options = options_;
      options.every_element_up_to = std::numeric_limits<std::int64_t>::max();
      const std::vector<Numbers> rounding = own_rounding(subject_, line, cotangents, gradients, options.seed);
      return check_input({subject_, line, cotangents, options, has_nan_outputs_}, i, gradients[i], rounding[i]);
    };
    report_.hint = find_hint(subject_, line_, cotangents_, gradients_, report_, judge);
  }

  /// Of infinity and NaN there are no differences: such outputs count for nothing. Those beside them count for less, so
  /// that sums stay finite. Where forward gives NaN, no gradient can be told right.
  void leave_out_what_has_no_differences() {
    bool any_counts = false, any_left_out = false;
    for (std::size_t k = 0; k < line_.outputs().size(); ++k) {
      if (!cotangents_[k].defined()) continue;
      const Tensor& output = line_.outputs()[k];
      const double huge = output.dtype() == DType::f64 ? 1e270 : 1e32;
      const Numbers values = output.to_vector<double>();
      Numbers counting = cotangents_[k].to_vector<double>();
      std::vector<std::size_t> left_out;
      std::size_t shown = 0;
      for (std::size_t e = 0; e < values.size(); ++e) {
        if (std::fabs(values[e]) > huge) counting[e] *= output.dtype() == DType::f64 ? 0x1p-120 : 0x1p-24;
        if (std::isfinite(values[e])) continue;
        counting[e] = 0;
        left_out.push_back(e);
        if (std::isnan(values[e]) && !std::isnan(values[left_out[shown]])) shown = left_out.size() - 1;
      }
      any_counts |= left_out.size() < values.size();
      cotangents_[k] = from_values(output.shape(), counting, output.dtype());
      if (left_out.empty()) continue;
      any_left_out = true;
      const double value = values[left_out[shown]];
      has_nan_outputs_ |= std::isnan(value);
      report_.note = fmt::format("forward gives {} for the output '{}' at {}{}: {}", std::isnan(value) ? "NaN" : fmt::format("{}", value),
                                 k < subject_.outputs.size() ? subject_.outputs[k] : std::to_string(k),
                                 place_of(output.shape(), static_cast<std::int64_t>(left_out[shown])),
                                 left_out.size() > 1 ? fmt::format(" and {} more", left_out.size() - 1) : "",
                                 std::isnan(value) ? "nothing can be told about its gradient" : "left out");
    }
    if (has_nan_outputs_ || (any_left_out && !any_counts)) report_.verdict = worse(report_.verdict, Verdict::cannot_tell);
    line_.set_cotangents(cotangents_);
  }

  CheckReport finish(std::chrono::steady_clock::time_point start) {
    for (const InputReport& input : report_.inputs) report_.verdict = worse(report_.verdict, input.verdict);
    for (const ContractReport& contract : report_.contracts) {
      if (!contract.held) report_.verdict = Verdict::disagree;
    }
    if (!report_.hint && !report_.contracts.empty() && !report_.contracts[0].held)
      report_.hint = Hint{Cause::wrong_shape, "", report_.contracts[0].finding};
    if (options_.explain) explain();
    if (options_.keep_point)
      report_.point = std::make_shared<CheckedTensors>(subject_.inputs, subject_.outputs, line_.inputs(),
                                                       line_.outputs(), cotangents_, gradients_);
    report_.evaluations = line_.evaluations();
    report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return std::move(report_);
  }

  void explain() {
    for (std::size_t r = 0; r < report_.inputs.size(); ++r) {
      const InputReport& input = report_.inputs[r];
      if (input.verdict != report_.verdict || input.elements.empty()) continue;
      const std::size_t i =
          std::find(subject_.inputs.begin(), subject_.inputs.end(), input.name) - subject_.inputs.begin();
      const std::int64_t e = input.worst.element;
      const double own = std::fabs(line_.element(i, e)), scale = own > 0 ? own : line_.typical_size(i);
      report_.step_errors = error_by_step(
          [&](double t) {
            return line_.at({i, e, e + 1}, t);
          },
          scale, input.worst.expected);
      return;
    }
  }

  const Subject& subject_;
  const CheckOptions& options_;
  Line line_;
  Generator generator_;
  Tensors cotangents_, gradients_;
  bool has_nan_outputs_ = false;
  CheckReport report_;
};

}  // namespace

Verdict worse(Verdict a, Verdict b) {
  if (a == Verdict::disagree || b == Verdict::disagree) return Verdict::disagree;
  return a == Verdict::cannot_tell || b == Verdict::cannot_tell ? Verdict::cannot_tell : Verdict::agree;
}

int CheckReport::mutants() const {
  int sum = 0;
  for (const InputReport& input : inputs) sum += input.mutants;
  return sum;
}
int CheckReport::mutants_caught() const {
  int sum = 0;
  for (const InputReport& input : inputs) sum += input.mutants_caught;
  return sum;
}
double CheckReport::detection_limit() const {
  double limit = 0;
  for (const InputReport& input : inputs) limit = std::max(limit, input.detection_limit);
  return limit;
}

CheckReport check(const Subject& subject, const Tensors& inputs, const CheckOptions& options) {
  if (options.watch) return Checker(watched(subject, options.watch), inputs, options).run();
  return Checker(subject, inputs, options).run();
}

}  // namespace gradus::testing
