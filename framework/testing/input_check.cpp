#include "framework/testing/input_check.h"

#include <algorithm>
#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/tensor/creation.h"
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
/// Inputs with a wrong gradient are checked element by element, for the sake of the hint, while elements times the
/// elements that each evaluation touches stay below this.
constexpr double affordable_elements = 1e7;

using Signs = std::shared_ptr<std::vector<std::int8_t>>;

double dot(const Numbers& values, const std::vector<std::int8_t>& signs, std::int64_t begin, std::int64_t end) {
  double sum = 0;
  for (std::int64_t e = begin; e < end; ++e) sum += signs[e] * values[e];
  return sum;
}

class InputCheck {
 public:
  InputCheck(const CheckedPoint& point, std::size_t input, const Tensor& gradient, double own_rounding)
      : subject_(point.subject),
        line_(point.line),
        cotangents_(point.cotangents),
        options_(point.options),
        nan_outputs_(point.nan_outputs),
        input_(input),
        yours_(numbers_of(gradient, line_.inputs()[input].numel())),
        own_rounding_(own_rounding),
        exact_(static_cast<bool>(subject_.tangent_of)),
        result_{.name = subject_.inputs[input], .spec = line_.inputs()[input].spec()} {}

  InputReport run() {
    result_.by_direction = line_.inputs()[input_].numel() > options_.every_element_up_to;
    if (result_.by_direction) check_directions();
    else check_elements();
    result_.oracle = exact_                                  ? "forward mode"
                     : subject_.backward_dtype == DType::f64 ? "differences"
                                                             : "differences of the f64 forward";
    for (const ElementVerdict& judged : result_.by_direction ? result_.directions : result_.elements) {
      result_.failed += judged.verdict == Verdict::disagree;
      result_.undecided += judged.verdict == Verdict::cannot_tell;
    }
    result_.verdict = result_.failed > 0      ? Verdict::disagree
                      : result_.undecided > 0 ? Verdict::cannot_tell
                                              : Verdict::agree;
    if (result_.verdict == Verdict::agree && is_accused()) {
      result_.verdict = Verdict::cannot_tell;
      result_.note = "a direction disagrees, and no single element";
    }
    if (result_.verdict == Verdict::agree && result_.mutants > result_.mutants_caught) {
      std::string names;
      for (const std::string& name : result_.blind_to) names += (names.empty() ? "" : ", ") + name;
      result_.verdict = Verdict::cannot_tell;
      result_.note = "vacuous: this point cannot distinguish your gradient from: " + names;
    }
    return std::move(result_);
  }

 private:
  /// For a sum of `elements` claimed numbers with random signs.
  double own_rounding(std::int64_t elements) const { return own_rounding_ * std::sqrt(static_cast<double>(elements)); }

  ElementVerdict judge(const Direction& direction, std::int64_t number, double yours, double scale) {
    ElementVerdict verdict{.element = number, .yours = yours};
    Derivative derivative = line_.derivative(direction, 1e-9 * std::max(scale, std::fabs(yours)));
    if (exact_ && !derivative.at_kink) derivative = better_of(derivative, exact_along(direction));
    const double rounding = own_rounding(direction.end - direction.begin);
    const auto fits = [&] {
      if (derivative.at_kink) {
        const double slack = bars_allowed * derivative.side_bar + rounding;
        return yours >= std::min(derivative.left, derivative.right) - slack &&
               yours <= std::max(derivative.left, derivative.right) + slack;
      }
      return std::fabs(yours - derivative.value) <= bars_allowed * derivative.bar + rounding;
    };
    if (derivative.conclusive && !fits() && !is_accused()) {  // before accusing: more ladders
      const Derivative again = line_.derivative(direction, 0, Line::Effort::thorough);
      const bool elsewhere = std::fabs(again.value - derivative.value) > again.bar + derivative.bar;
      if (again.at_kink || (!exact_ && (!again.conclusive || again.bar < derivative.bar || elsewhere)))
        derivative = again;
    }
    if (derivative.constant && nan_outputs_) derivative.conclusive = false;  // NaN does not change, whatever it hides
    verdict.expected = derivative.value;
    verdict.bar = derivative.bar;
    verdict.allowed = bars_allowed * derivative.bar + (derivative.at_kink ? 0 : rounding);
    if (!derivative.conclusive) {
      verdict.verdict = std::isfinite(yours) || nan_outputs_ ? Verdict::cannot_tell : Verdict::disagree;
    } else if (!fits()) {
      verdict.verdict = Verdict::disagree;
    } else if (derivative.at_kink) {
      ++result_.subgradients;
      verdict.at_kink = true;
    } else if (derivative.constant && yours == 0) {
      verdict.bar = verdict.allowed = 0;
    }
    return verdict;
  }

  bool is_accused() const {
    return std::any_of(result_.directions.begin(), result_.directions.end(),
                       [](const ElementVerdict& verdict) { return verdict.verdict == Verdict::disagree; });
  }

  /// Directional derivative by the subject's own forward mode.
  Derivative exact_along(const Direction& direction) {
    const Tensor& input = line_.inputs()[input_];
    Numbers tangent(static_cast<std::size_t>(input.numel()), 0.0);
    for (std::int64_t e = direction.begin; e < direction.end; ++e)
      tangent[e] = direction.signs ? (*direction.signs)[e] : 1;
    Tensors tangents(line_.inputs().size());
    tangents[input_] = from_values(input.shape(), tangent, input.dtype());
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
      result_.refuted = fmt::format("forward mode says {:.9g} where differences say {:.9g}: it is wrong, and not used",
                                    exact.value, differences.value);
      exact_ = false;
      return differences;
    }
    return exact.bar < differences.bar || !differences.conclusive ? exact : differences;
  }

  /// Where the bars are too wide for the tensor's own scale, agreement means nothing. A gradient of zeros has no scale:
  /// a slope that changes the outputs by a millionth, where the input moves by its own size, would show.
  void doubt_coarse_ones(std::vector<ElementVerdict>& verdicts, double scale) {
    const bool single = line_.inputs()[input_].dtype() != DType::f64;
    const double resolution = scale > 0 ? (single ? coarsest_resolution_f32 : coarsest_resolution) * scale
                                        : 1e-6 * line_.output_size() / line_.typical_size(input_);
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
  bool is_none() {
    const double claimed = largest_magnitude(yours_);
    if (claimed == 0 || claimed > line_.negligible_gradient(input_)) return claimed == 0;
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
          numbers_of(subject_.backward(moved, clones(cotangents_))[input_], static_cast<std::int64_t>(yours_.size()));
      if (largest_difference(elsewhere, yours_) <= 0.1 * claimed) continue;
      result_.note = "zero but for rounding";
      return true;
    }
    return false;
  }

  void check_elements() {
    const double claimed = largest_magnitude(yours_);
    for (std::int64_t e = 0; e < static_cast<std::int64_t>(yours_.size()); ++e) {
      result_.elements.push_back(judge({input_, e, e + 1}, e, yours_[e], claimed));
      const ElementVerdict& element = result_.elements.back();
      if (element.verdict != Verdict::cannot_tell) result_.scale = std::max(result_.scale, std::fabs(element.expected));
    }
    result_.checked = static_cast<std::int64_t>(yours_.size());
    const bool none = is_none();
    const double scale = none ? 0 : std::max(result_.scale, std::min(claimed, 1e300));
    doubt_coarse_ones(result_.elements, scale);
    for (const ElementVerdict& element : result_.elements) {
      if (scale > 0 && element.verdict == Verdict::agree)
        result_.detection_limit = std::max(result_.detection_limit, element.allowed / scale);
    }
    if (const ElementVerdict* worst = worst_of(result_.elements)) result_.worst = *worst;
    if (none) return;
    prove_sight([&](const Numbers& mutant) {
      return std::any_of(result_.elements.begin(), result_.elements.end(), [&](const ElementVerdict& element) {
        return element.verdict != Verdict::cannot_tell &&
               !(std::fabs(mutant[element.element] - element.expected) <= element.allowed);
      });
    });
  }

  void check_directions() {
    const std::int64_t count = static_cast<std::int64_t>(yours_.size());
    double squares = 0;
    for (const double value : yours_) squares += std::isfinite(value) ? value * value : 0;
    const double length = std::sqrt(squares);
    std::vector<ElementVerdict>& verdicts = result_.directions;
    std::vector<Signs> all_signs;
    for (int k = 0; k < options_.directions; ++k) {
      auto signs = std::make_shared<std::vector<std::int8_t>>(yours_.size());
      StreamReader reader(options_.seed, 100 + 16 * input_ + static_cast<std::size_t>(k));
      for (std::int64_t e = 0; e < count;) {
        for (std::uint32_t word = reader.next_word(), bit = 0; bit < 32 && e < count; ++bit, ++e)
          (*signs)[e] = (word >> bit) & 1 ? 1 : -1;
      }
      all_signs.push_back(signs);
      verdicts.push_back(judge({input_, 0, count, signs}, k, dot(yours_, *signs, 0, count), length));
    }
    double scale = length;
    for (const ElementVerdict& verdict : verdicts) {
      if (verdict.verdict != Verdict::cannot_tell) scale = std::max(scale, std::fabs(verdict.expected));
    }
    const bool none = is_none();
    if (none) scale = 0;
    doubt_coarse_ones(verdicts, scale);
    result_.checked = static_cast<std::int64_t>(verdicts.size());
    result_.scale = largest_magnitude(yours_);
    result_.worst = *worst_of(verdicts);
    for (const ElementVerdict& verdict : verdicts) {
      if (result_.scale > 0)
        result_.detection_limit = std::max(result_.detection_limit, verdict.allowed / result_.scale);
      result_.verdict = worse(result_.verdict, verdict.verdict);
    }
    if (result_.verdict == Verdict::disagree) {
      if (double(count) * double(count + line_.output_elements()) <= affordable_elements) {
        result_.by_direction = false;
        return check_elements();
      }
      const auto disagreeing = std::find_if(verdicts.begin(), verdicts.end(), [](const ElementVerdict& verdict) {
        return verdict.verdict == Verdict::disagree;
      });
      find_culprits(all_signs[static_cast<std::size_t>(disagreeing - verdicts.begin())]);
      return;
    }
    if (none) return;
    prove_sight([&](const Numbers& mutant) {
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
  void find_culprits(const Signs& signs) {
    struct Suspects {
      std::int64_t begin, end;
      double residual, bar;
    };
    const auto count = static_cast<std::int64_t>(yours_.size());
    const Derivative whole = line_.derivative({input_, 0, count, signs}, 0);
    std::vector<Suspects> stack = {{0, count, dot(yours_, *signs, 0, count) - whole.value, whole.bar}};
    while (!stack.empty() && static_cast<int>(result_.elements.size()) < options_.most_culprits) {
      const Suspects suspects = stack.back();
      stack.pop_back();
      const auto [begin, end, residual, bar] = suspects;
      if (end - begin == 1) {
        ElementVerdict verdict = judge({input_, begin, end}, begin, yours_[begin], 0);
        if (verdict.verdict == Verdict::disagree) result_.elements.push_back(verdict);
        continue;
      }
      const std::int64_t middle = begin + (end - begin) / 2;
      const Derivative first =
          line_.quick_derivative({input_, begin, middle, signs}, std::fabs(residual) / 100, whole.noise);
      const double first_residual = dot(yours_, *signs, begin, middle) - first.value;
      const auto is_suspect = [&](const Suspects& half) {
        return !(std::fabs(half.residual) <= bars_allowed * half.bar + own_rounding(half.end - half.begin));
      };
      // The first half is looked at first.
      if (const Suspects half{middle, end, residual - first_residual, bar + first.bar}; is_suspect(half))
        stack.push_back(half);
      if (const Suspects half{begin, middle, first_residual, first.bar}; is_suspect(half)) stack.push_back(half);
    }
    result_.note = stack.empty() ? fmt::format("{} of {} elements are wrong", result_.elements.size(), yours_.size())
                                 : fmt::format("the first {} wrong elements of {}; there are more",
                                               result_.elements.size(), yours_.size());
    if (const ElementVerdict* worst = worst_of(result_.elements)) result_.worst = *worst;
  }

  /// Damages the gradient in the usual ways: a check that lets one of them pass has seen nothing.
  template <class Rejects>
  void prove_sight(Rejects rejects) {
    const double scale = largest_magnitude(yours_);
    if (yours_.empty() || scale == 0) return;
    Tensors all_ones;
    for (const Tensor& cotangent : cotangents_)
      all_ones.push_back(cotangent.defined() ? full(cotangent.shape(), options_.cotangent_scale, cotangent.dtype())
                                             : cotangent);
    auto damaged = damaged_gradients(yours_, line_.inputs()[input_].shape());
    damaged.emplace_back("upstream ignored", numbers_of(subject_.backward(line_.inputs(), all_ones)[input_],
                                                        line_.inputs()[input_].numel()));
    for (const auto& [name, mutant] : damaged) {
      if (largest_difference(mutant, yours_) <= 1e-6 * scale) continue;  // changes nothing here
      ++result_.mutants;
      if (rejects(mutant)) ++result_.mutants_caught;
      else result_.blind_to.push_back(name);
    }
  }

  const Subject& subject_;
  Line& line_;
  const Tensors& cotangents_;
  const CheckOptions& options_;
  const bool nan_outputs_;
  const std::size_t input_;
  const Numbers yours_;
  const double own_rounding_;
  bool exact_;  ///< forward mode is there, and nothing contradicted it yet
  InputReport result_;
};

}  // namespace

InputReport check_input(const CheckedPoint& point, std::size_t input, const Tensor& gradient, double own_rounding) {
  return InputCheck(point, input, gradient, own_rounding).run();
}

}  // namespace gradus::testing
