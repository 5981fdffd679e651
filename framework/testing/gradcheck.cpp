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

namespace gradus::testing {
namespace {

/// Share of the largest gradient by which differences of a forward in f32 may be off although their bars deny it: its
/// roundings are too few and too large to be all seen as noise.
constexpr double trust_in_f32 = 2e-3;
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
    doubt_outputs_without_value();
    gradients_ = subject_.backward(clones(line_.inputs()), clones(cotangents_));
    if (!shapes_are_right()) return finish(start);
    measure_own_rounding();
    if (options_.contracts) {
      for (ContractReport& contract : check_contracts(subject_, line_, cotangents_, gradients_, options_))
        report_.contracts.push_back(std::move(contract));
    }
    const CheckedPoint point{subject_, line_, cotangents_, options_, has_nan_outputs_};
    for (std::size_t i = 0; i < line_.inputs().size(); ++i) {
      if (!subject_.differentiable[i]) continue;
      report_.inputs.push_back(check_input(point, i, gradients_[i], own_rounding_[i]));
      if (options_.on_input) options_.on_input(report_.inputs.back());
    }
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

  /// Unit roundoff of the claimed gradient.
  double unit_of(const Tensor& input) const {
    return input.dtype() == DType::f64 && subject_.backward_dtype == DType::f64 ? 0x1p-53 : 0x1p-24;
  }

  /// How much the claimed gradient moves when its inputs move by a rounding error: no check can ask for more.
  void measure_own_rounding() {
    own_rounding_.assign(line_.inputs().size(), 0);
    for (int trial = 0; trial < 2; ++trial) {
      Tensors moved;
      StreamReader reader(options_.seed, 5000 + trial);
      for (std::size_t i = 0; i < line_.inputs().size(); ++i) {
        const Tensor& input = line_.inputs()[i];
        if (!subject_.differentiable[i]) {
          moved.push_back(input);
          continue;
        }
        Numbers values = input.to_vector<double>();
        const double unit = unit_of(input);
        for (double& value : values) value *= reader.next_integer(0, 1) ? 1 + 2 * unit : 1 - 2 * unit;
        moved.push_back(from_values(input.shape(), values, input.dtype()));
      }
      const Tensors again = subject_.backward(moved, clones(cotangents_));
      for (std::size_t i = 0; i < again.size() && i < gradients_.size(); ++i) {
        if (!subject_.differentiable[i]) continue;
        const Numbers a = numbers_of(gradients_[i], line_.inputs()[i].numel()),
                      b = numbers_of(again[i], line_.inputs()[i].numel());
        const double unit = unit_of(line_.inputs()[i]);
        const double change = largest_difference(a, b), scale = largest_magnitude(a);
        // At a kink the change is a jump, not rounding: it must not hide an error.
        own_rounding_[i] =
            std::max(own_rounding_[i], std::min(std::isfinite(change) ? change : 0.0, 4096 * unit * scale));
        own_rounding_[i] = std::max(own_rounding_[i], 64 * unit * scale);
        if (line_.inputs()[i].dtype() != DType::f64)
          own_rounding_[i] = std::max(own_rounding_[i], trust_in_f32 * scale);
      }
    }
  }

  void look_for_hint() {
    for (const ContractReport& contract : report_.contracts) {
      if (contract.held) continue;
      report_.hint = hint_of_broken_promise(subject_, line_, cotangents_, gradients_, report_, contract);
      if (report_.hint) return;
    }
    const Judge judge = [&](Line& line, const Tensors& cotangents, const Tensors& gradients, std::size_t i,
                            bool by_element) {
      CheckOptions options = options_;
      if (by_element) options.every_element_up_to = std::numeric_limits<std::int64_t>::max();
      return check_input({subject_, line, cotangents, options}, i, gradients[i], own_rounding_[i]);
    };
    report_.hint = find_hint(subject_, line_, cotangents_, gradients_, report_, judge);
  }

  /// Differences of NaN are none: where forward gives NaN, no gradient can be told right.
  void doubt_outputs_without_value() {
    for (std::size_t k = 0; k < line_.outputs().size(); ++k) {
      if (!cotangents_[k].defined()) continue;
      const Numbers values = line_.outputs()[k].to_vector<double>();
      const auto bad = std::find_if(values.begin(), values.end(), [](double value) { return std::isnan(value); });
      if (bad == values.end()) continue;
      has_nan_outputs_ = true;
      report_.verdict = worse(report_.verdict, Verdict::cannot_tell);
      report_.note = fmt::format("forward gives NaN for the output '{}' at {}: nothing can be told about its gradient",
                                 k < subject_.outputs.size() ? subject_.outputs[k] : std::to_string(k),
                                 place_of(line_.outputs()[k].shape(), bad - values.begin()));
    }
  }

  CheckReport finish(std::chrono::steady_clock::time_point start) {
    for (const InputReport& input : report_.inputs) report_.verdict = worse(report_.verdict, input.verdict);
    for (const ContractReport& contract : report_.contracts) {
      if (!contract.held) report_.verdict = Verdict::disagree;
    }
    if (!report_.hint && !report_.contracts.empty() && !report_.contracts[0].held)
      report_.hint = Hint{Cause::wrong_shape, "", report_.contracts[0].finding};
    if (options_.explain) explain();
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
  std::vector<double> own_rounding_;
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
  return Checker(subject, inputs, options).run();
}

}  // namespace gradus::testing
