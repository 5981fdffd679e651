#include "framework/testing/gradcheck.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/tensor/creation.h"
#include "framework/testing/contracts.h"
#include "framework/testing/hints.h"
#include "framework/testing/jacobian.h"
#include "framework/testing/line.h"
#include "framework/testing/mutants.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {
namespace {

/// Differences beyond this many bars are called wrong.
constexpr double bars_allowed = 10;
/// Where the bars are wider than this share of the largest gradient, nothing can be told.
constexpr double coarsest_resolution = 1e-3;
/// The same for a forward in single precision, which leaves differences few digits.
constexpr double coarsest_resolution_f32 = 3e-2;
/// Share of the largest gradient by which differences of a forward in f32 may be off although their bars deny it: its
/// roundings are too few and too large to be all seen as noise.
constexpr double trust_in_f32 = 2e-3;
/// Far from the streams that inputs are drawn from: a cotangent that equals an input would hide their exchange.
constexpr std::uint64_t cotangent_stream = std::uint64_t{1} << 50;
/// Inputs with a wrong gradient are checked element by element, for the sake of the hint, while elements times the
/// elements that each evaluation touches stay below this.
constexpr double affordable_elements = 1e7;

using Signs = std::shared_ptr<std::vector<std::int8_t>>;

double dot(const Numbers& values, const std::vector<std::int8_t>& signs, std::int64_t begin, std::int64_t end) {
  double sum = 0;
  for (std::int64_t e = begin; e < end; ++e) sum += signs[e] * values[e];
  return sum;
}

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
    for (std::size_t i = 0; i < line_.inputs().size(); ++i) {
      if (!subject_.differentiable[i]) continue;
      check_input(i);
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

  /// For a sum of `elements` claimed numbers with random signs.
  double own_rounding(std::size_t i, std::int64_t elements) const {
    return own_rounding_[i] * std::sqrt(static_cast<double>(elements));
  }

  ElementVerdict judge(std::size_t i, const Direction& direction, std::int64_t number, double yours, double scale) {
    ElementVerdict verdict{.element = number, .yours = yours};
    InputReport& input = report_.inputs.back();
    Derivative derivative = line_.derivative(direction, 1e-9 * std::max(scale, std::fabs(yours)));
    if (exact_ && !derivative.at_kink) derivative = better_of(derivative, exact_along(i, direction));
    const double rounding = own_rounding(i, direction.end - direction.begin);
    const auto fits = [&] {
      if (derivative.at_kink) {
        const double slack = bars_allowed * derivative.side_bar + rounding;
        return yours >= std::min(derivative.left, derivative.right) - slack &&
               yours <= std::max(derivative.left, derivative.right) + slack;
      }
      return std::fabs(yours - derivative.value) <= bars_allowed * derivative.bar + rounding;
    };
    if (derivative.conclusive && !fits() && !is_accused(input)) {  // before accusing: more ladders
      const Derivative again = line_.derivative(direction, 0, Line::Effort::thorough);
      const bool elsewhere = std::fabs(again.value - derivative.value) > again.bar + derivative.bar;
      if (again.at_kink || (!exact_ && (!again.conclusive || again.bar < derivative.bar || elsewhere)))
        derivative = again;
    }
    if (derivative.constant && has_nan_outputs_)
      derivative.conclusive = false;  // NaN does not change, whatever it hides
    verdict.expected = derivative.value;
    verdict.bar = derivative.bar;
    verdict.allowed = bars_allowed * derivative.bar + (derivative.at_kink ? 0 : rounding);
    if (!derivative.conclusive) {
      verdict.verdict = std::isfinite(yours) || has_nan_outputs_ ? Verdict::cannot_tell : Verdict::disagree;
    } else if (!fits()) {
      verdict.verdict = Verdict::disagree;
    } else if (derivative.at_kink) {
      ++input.subgradients;
      verdict.at_kink = true;
    } else if (derivative.constant && yours == 0) {
      verdict.bar = verdict.allowed = 0;
    }
    return verdict;
  }

  static bool is_accused(const InputReport& input) {
    return std::any_of(input.directions.begin(), input.directions.end(),
                       [](const ElementVerdict& verdict) { return verdict.verdict == Verdict::disagree; });
  }

  /// Directional derivative by the subject's own forward mode.
  Derivative exact_along(std::size_t i, const Direction& direction) {
    const Tensor& input = line_.inputs()[i];
    Numbers tangent(static_cast<std::size_t>(input.numel()), 0.0);
    for (std::int64_t e = direction.begin; e < direction.end; ++e)
      tangent[e] = direction.signs ? (*direction.signs)[e] : 1;
    Tensors tangents(line_.inputs().size());
    tangents[i] = from_values(input.shape(), tangent, input.dtype());
    const NoGradScope no_grad;
    const Tensors changes = subject_.tangent_of(line_.inputs(), tangents);
    Derivative derivative;
    double magnitude = 0;
    for (std::size_t k = 0; k < changes.size(); ++k) {
      if (!cotangents_[k].defined() || !changes[k].defined()) continue;
      const Numbers change = changes[k].to_vector<double>(), upstream = cotangents_[k].to_vector<double>();
      for (std::size_t e = 0; e < change.size(); ++e) {
        derivative.value += change[e] * upstream[e];
        magnitude += std::fabs(change[e] * upstream[e]);
      }
    }
    derivative.bar = 16 * (input.dtype() == DType::f64 ? 0x1p-53 : 0x1p-24) * magnitude;
    derivative.conclusive = std::isfinite(derivative.value);
    return derivative;
  }

  /// Forward mode is believed only where differences do not contradict it.
  Derivative better_of(const Derivative& differences, const Derivative& exact) {
    if (!exact.conclusive) return differences;
    if (differences.conclusive &&
        std::fabs(differences.value - exact.value) > bars_allowed * (differences.bar + exact.bar)) {
      report_.inputs.back().refuted =
          fmt::format("forward mode says {:.9g} where differences say {:.9g}: it is wrong, and not used", exact.value,
                      differences.value);
      exact_ = false;
      return differences;
    }
    return exact.bar < differences.bar || !differences.conclusive ? exact : differences;
  }

  void check_input(std::size_t i) {
    const Tensor& input = line_.inputs()[i];
    report_.inputs.push_back({.name = subject_.inputs[i], .spec = input.spec()});
    InputReport& result = report_.inputs.back();
    exact_ = static_cast<bool>(subject_.tangent_of);
    const Numbers yours = numbers_of(gradients_[i], input.numel());
    result.by_direction = input.numel() > options_.every_element_up_to;
    if (result.by_direction) check_directions(i, yours);
    else check_elements(i, yours);
    result.oracle = exact_                                  ? "forward mode"
                    : subject_.backward_dtype == DType::f64 ? "differences"
                                                            : "differences of the f64 forward";
    for (const ElementVerdict& judged : result.by_direction ? result.directions : result.elements) {
      result.failed += judged.verdict == Verdict::disagree;
      result.undecided += judged.verdict == Verdict::cannot_tell;
    }
    result.verdict = result.failed > 0      ? Verdict::disagree
                     : result.undecided > 0 ? Verdict::cannot_tell
                                            : Verdict::agree;
    if (result.verdict == Verdict::agree && is_accused(result)) {
      result.verdict = Verdict::cannot_tell;
      result.note = "a direction disagrees, and no single element";
    }
    if (result.verdict == Verdict::agree && result.mutants > result.mutants_caught) {
      std::string names;
      for (const std::string& name : result.blind_to) names += (names.empty() ? "" : ", ") + name;
      result.verdict = Verdict::cannot_tell;
      result.note = "vacuous: this point cannot distinguish your gradient from: " + names;
    }
  }

  /// Where the bars are too wide for the tensor's own scale, agreement means nothing. A gradient of zeros has no scale:
  /// a slope that changes the outputs by a millionth, where the input moves by its own size, would show.
  void doubt_coarse_ones(std::size_t i, std::vector<ElementVerdict>& verdicts, double scale) {
    const bool single = line_.inputs()[i].dtype() != DType::f64;
    const double resolution = scale > 0 ? (single ? coarsest_resolution_f32 : coarsest_resolution) * scale
                                        : 1e-6 * line_.output_size() / line_.typical_size(i);
    for (ElementVerdict& verdict : verdicts) {
      if (verdict.verdict == Verdict::agree && verdict.allowed > resolution && !verdict.at_kink)
        verdict.verdict = Verdict::cannot_tell;
    }
  }

  static const ElementVerdict* worst_of(const std::vector<ElementVerdict>& verdicts) {
    const ElementVerdict* worst = nullptr;
    const auto badness = [](const ElementVerdict& v) {
      const double difference = std::fabs(v.yours - v.expected), rank = v.verdict == Verdict::disagree      ? 2e30
                                                                        : v.verdict == Verdict::cannot_tell ? 1e30
                                                                                                            : 0;
      return std::isfinite(difference) ? rank + std::min(difference / std::max(v.allowed, 1e-300), 1e29) : 1e31;
    };
    for (const ElementVerdict& verdict : verdicts) {
      if (!worst || badness(verdict) > badness(*worst)) worst = &verdict;
    }
    return worst;
  }

  /// A gradient that is zero but for rounding has no scale of its own, and no mutants: it is small, and quite another
  /// one where the inputs move by a ten-thousandth.
  bool is_none(std::size_t i, const Numbers& yours) {
    const double claimed = largest_magnitude(yours);
    if (claimed == 0 || claimed > line_.negligible_gradient(i)) return claimed == 0;
    for (std::uint64_t trial = 0; trial < 8; ++trial) {
      StreamReader reader(options_.seed, 6000 + trial);
      Tensors moved = clones(line_.inputs());
      for (std::size_t k = 0; k < moved.size(); ++k) {
        if (!subject_.differentiable[k]) continue;
        Numbers values = moved[k].to_vector<double>();
        for (double& value : values) value *= 1 + 1e-4 * (2 * reader.next_uniform() - 1);
        moved[k] = from_values(moved[k].shape(), values, moved[k].dtype());
      }
      const Numbers elsewhere =
          numbers_of(subject_.backward(moved, clones(cotangents_))[i], static_cast<std::int64_t>(yours.size()));
      if (largest_difference(elsewhere, yours) <= 0.1 * claimed) continue;
      report_.inputs.back().note = "zero but for rounding";
      return true;
    }
    return false;
  }

  void check_elements(std::size_t i, const Numbers& yours) {
    InputReport& result = report_.inputs.back();
    const double claimed = largest_magnitude(yours);
    for (std::int64_t e = 0; e < static_cast<std::int64_t>(yours.size()); ++e) {
      result.elements.push_back(judge(i, {i, e, e + 1}, e, yours[e], claimed));
      const ElementVerdict& element = result.elements.back();
      if (element.verdict != Verdict::cannot_tell) result.scale = std::max(result.scale, std::fabs(element.expected));
    }
    result.checked = static_cast<std::int64_t>(yours.size());
    const bool none = is_none(i, yours);
    const double scale = none ? 0 : std::max(result.scale, std::min(claimed, 1e300));
    doubt_coarse_ones(i, result.elements, scale);
    for (const ElementVerdict& element : result.elements) {
      if (scale > 0 && element.verdict == Verdict::agree)
        result.detection_limit = std::max(result.detection_limit, element.allowed / scale);
    }
    if (const ElementVerdict* worst = worst_of(result.elements)) result.worst = *worst;
    if (none) return;
    prove_sight(i, yours, [&](const Numbers& mutant) {
      return std::any_of(result.elements.begin(), result.elements.end(), [&](const ElementVerdict& element) {
        return element.verdict != Verdict::cannot_tell &&
               !(std::fabs(mutant[element.element] - element.expected) <= element.allowed);
      });
    });
  }

  void check_directions(std::size_t i, const Numbers& yours) {
    InputReport& result = report_.inputs.back();
    const std::int64_t count = static_cast<std::int64_t>(yours.size());
    double squares = 0;
    for (const double value : yours) squares += std::isfinite(value) ? value * value : 0;
    const double length = std::sqrt(squares);
    std::vector<ElementVerdict>& verdicts = result.directions;
    std::vector<Signs> all_signs;
    for (int k = 0; k < options_.directions; ++k) {
      auto signs = std::make_shared<std::vector<std::int8_t>>(yours.size());
      StreamReader reader(options_.seed, 100 + 16 * i + static_cast<std::size_t>(k));
      for (std::int64_t e = 0; e < count;) {
        for (std::uint32_t word = reader.next_word(), bit = 0; bit < 32 && e < count; ++bit, ++e)
          (*signs)[e] = (word >> bit) & 1 ? 1 : -1;
      }
      all_signs.push_back(signs);
      verdicts.push_back(judge(i, {i, 0, count, signs}, k, dot(yours, *signs, 0, count), length));
    }
    double scale = length;
    for (const ElementVerdict& verdict : verdicts) {
      if (verdict.verdict != Verdict::cannot_tell) scale = std::max(scale, std::fabs(verdict.expected));
    }
    const bool none = is_none(i, yours);
    if (none) scale = 0;
    doubt_coarse_ones(i, verdicts, scale);
    result.checked = static_cast<std::int64_t>(verdicts.size());
    result.scale = largest_magnitude(yours);
    result.worst = *worst_of(verdicts);
    for (const ElementVerdict& verdict : verdicts) {
      if (result.scale > 0) result.detection_limit = std::max(result.detection_limit, verdict.allowed / result.scale);
      result.verdict = worse(result.verdict, verdict.verdict);
    }
    if (result.verdict == Verdict::disagree) {
      if (double(count) * double(count + line_.output_elements()) <= affordable_elements) {
        result.by_direction = false;
        return check_elements(i, yours);
      }
      const auto disagreeing = std::find_if(verdicts.begin(), verdicts.end(), [](const ElementVerdict& verdict) {
        return verdict.verdict == Verdict::disagree;
      });
      find_culprits(i, yours, all_signs[static_cast<std::size_t>(disagreeing - verdicts.begin())]);
      return;
    }
    if (none) return;
    prove_sight(i, yours, [&](const Numbers& mutant) {
      for (std::size_t k = 0; k < verdicts.size(); ++k) {
        if (verdicts[k].verdict == Verdict::agree &&
            !(std::fabs(dot(mutant, *all_signs[k], 0, count) - verdicts[k].expected) <= verdicts[k].allowed))
          return true;
      }
      return false;
    });
  }

  /// Halves the set of elements that move until single ones are left: O(log n) derivatives for each of the first few.
  /// As derivatives add up, one half is measured and the other follows.
  void find_culprits(std::size_t i, const Numbers& yours, const Signs& signs) {
    struct Suspects {
      std::int64_t begin, end;
      double residual, bar;
    };
    InputReport& result = report_.inputs.back();
    const auto count = static_cast<std::int64_t>(yours.size());
    const Derivative whole = line_.derivative({i, 0, count, signs}, 0);
    std::vector<Suspects> stack = {{0, count, dot(yours, *signs, 0, count) - whole.value, whole.bar}};
    while (!stack.empty() && static_cast<int>(result.elements.size()) < options_.most_culprits) {
      const Suspects suspects = stack.back();
      stack.pop_back();
      const auto [begin, end, residual, bar] = suspects;
      if (end - begin == 1) {
        ElementVerdict verdict = judge(i, {i, begin, end}, begin, yours[begin], 0);
        if (verdict.verdict == Verdict::disagree) result.elements.push_back(verdict);
        continue;
      }
      const std::int64_t middle = begin + (end - begin) / 2;
      const Derivative first =
          line_.quick_derivative({i, begin, middle, signs}, std::fabs(residual) / 100, whole.noise);
      const double first_residual = dot(yours, *signs, begin, middle) - first.value;
      const auto is_suspect = [&](const Suspects& half) {
        return !(std::fabs(half.residual) <= bars_allowed * half.bar + own_rounding(i, half.end - half.begin));
      };
      // The first half is looked at first.
      if (const Suspects half{middle, end, residual - first_residual, bar + first.bar}; is_suspect(half))
        stack.push_back(half);
      if (const Suspects half{begin, middle, first_residual, first.bar}; is_suspect(half)) stack.push_back(half);
    }
    result.note = stack.empty() ? fmt::format("{} of {} elements are wrong", result.elements.size(), yours.size())
                                : fmt::format("the first {} wrong elements of {}; there are more",
                                              result.elements.size(), yours.size());
    if (const ElementVerdict* worst = worst_of(result.elements)) result.worst = *worst;
  }

  /// Damages the gradient in the usual ways: a check that lets one of them pass has seen nothing.
  template <class Rejects>
  void prove_sight(std::size_t i, const Numbers& yours, Rejects rejects) {
    InputReport& result = report_.inputs.back();
    const double scale = largest_magnitude(yours);
    if (yours.empty() || scale == 0) return;
    Tensors all_ones;
    for (const Tensor& cotangent : cotangents_)
      all_ones.push_back(cotangent.defined() ? full(cotangent.shape(), options_.cotangent_scale, cotangent.dtype())
                                             : cotangent);
    auto damaged = damaged_gradients(yours, line_.inputs()[i].shape());
    damaged.emplace_back("upstream ignored",
                         numbers_of(subject_.backward(line_.inputs(), all_ones)[i], line_.inputs()[i].numel()));
    for (const auto& [name, mutant] : damaged) {
      if (largest_difference(mutant, yours) <= 1e-6 * scale) continue;  // changes nothing here
      ++result.mutants;
      if (rejects(mutant)) ++result.mutants_caught;
      else result.blind_to.push_back(name);
    }
  }

  void look_for_hint() {
    for (const ContractReport& contract : report_.contracts) {
      if (contract.held) continue;
      report_.hint = Hint{contract.cause, "", contract.finding};
      return;
    }
    for (std::size_t r = 0; r < report_.inputs.size(); ++r) {
      if (report_.inputs[r].verdict != Verdict::disagree) continue;
      const std::size_t i =
          std::find(subject_.inputs.begin(), subject_.inputs.end(), report_.inputs[r].name) - subject_.inputs.begin();
      report_.hint = find_hint(subject_, line_, cotangents_, gradients_, report_, r, i);
      if (report_.hint) return;
    }
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
  bool exact_ = false, has_nan_outputs_ = false;
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
