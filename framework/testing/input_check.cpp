#include "framework/testing/input_check.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "framework/base/plural.h"
#include "framework/tensor/creation.h"
#include "framework/testing/jacobian.h"
#include "framework/testing/mutants.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {
namespace {

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
  for (std::int64_t e = begin; e < end; ++e) sum += signs[e] == 0 ? 0 : signs[e] * values[e];
  return sum;
}

class InputCheck {
 public:
  InputCheck(const CheckedPoint& point, std::size_t input, const Tensor& gradient, const Numbers& own_rounding)
      : point_(point),
        subject_(point.subject),
        line_(point.line),
        cotangents_(point.cotangents),
        options_(point.options),
        input_(input),
        yours_(numbers_of(gradient, line_.inputs()[input].numel())),
        own_rounding_(own_rounding),
        result_{.name = subject_.inputs[input], .spec = line_.inputs()[input].spec()} {
    judge_.emplace(point_, input_, own_rounding_);
  }

  InputReport run() {
    result_.by_direction = line_.inputs()[input_].numel() > options_.every_element_up_to;
    if (result_.by_direction) check_directions();
    else check_elements();
    result_.oracle = judge_->is_exact() && !subject_.own_process ? "forward mode"
                     : subject_.backward_dtype == DType::f64 ? "differences"
                                                             : "differences of the f64 forward";
    result_.refuted = judge_->refuted();
    count(result_.by_direction ? result_.directions : result_.elements);
    result_.verdict = result_.failed > 0      ? Verdict::disagree
                      : result_.undecided > 0 ? Verdict::cannot_tell
                                              : Verdict::agree;
    if (has_no_culprit_) doubt("a direction disagrees, and no single element");
    if (!result_.by_direction && result_.left_out == result_.checked && result_.checked > 0) doubt("nothing here has a number");
    doubt_what_does_not_move();
    if (result_.mutants > result_.mutants_caught)
      doubt(fmt::format("vacuous: this point cannot distinguish your gradient from: {}", fmt::join(result_.blind_to, ", ")));
    explain_doubts();
    return std::move(result_);
  }

 private:
  void count(const std::vector<ElementVerdict>& verdicts) {
    for (const ElementVerdict& judged : verdicts) {
      result_.failed += judged.verdict == Verdict::disagree;
      result_.undecided += judged.verdict == Verdict::cannot_tell;
      result_.left_out += judged.left_out;
      result_.subgradients += judged.at_kink;
    }
  }

  /// "Cannot tell" for an agreement that means nothing.
  void doubt(const std::string& reason) {
    if (result_.verdict == Verdict::cannot_tell && result_.note.empty()) result_.note = reason;
    if (result_.verdict != Verdict::agree && !(has_no_culprit_ && result_.failed > 0)) return;
    result_.verdict = Verdict::cannot_tell;
    result_.note = reason;
  }

  /// A gradient of zeros beside a forward that stands still: right, unless it moves elsewhere.
  void doubt_what_does_not_move() {
    const std::vector<ElementVerdict>& verdicts = result_.by_direction ? result_.directions : result_.elements;
    const bool stands_still =
        !verdicts.empty() && std::all_of(verdicts.begin(), verdicts.end(), [](const ElementVerdict& judged) {
          return judged.is_constant && judged.yours == 0 && judged.verdict == Verdict::agree && !judged.left_out;
        });
    if (!stands_still || result_.verdict != Verdict::agree) return;
    if (line_.moves_elsewhere(input_)) doubt("forward does not move here, and does elsewhere: this point cannot show this gradient");
    else result_.note = "forward does not depend on it, wherever it was moved to";
  }

  void explain_doubts() {
    std::vector<std::string> sentences;
    if (!result_.note.empty()) sentences.push_back(result_.note);
    if (judge_->largest_stair() > 0)
      sentences.push_back(fmt::format("forward moves in steps of {:.1g} here", judge_->largest_stair()));
    if (result_.left_out > 0 && (result_.by_direction || result_.left_out < result_.checked)) {
      const auto first = std::find_if(result_.elements.begin(), result_.elements.end(),
                                      [](const ElementVerdict& judged) { return judged.left_out; });
      sentences.push_back(fmt::format("{}, not a number here or by what forward gives there, left out{}",
                                      plural(result_.left_out, "element"),
                                      first == result_.elements.end() ? "" : ", the first at " + place_of(result_.spec.shape, first->element)));
    }
    if (judge_->contradicted_accusations() > 0 && result_.verdict == Verdict::cannot_tell)
      sentences.push_back("differences disagree with it, and what it adds up to over an interval does not");
    result_.note = fmt::format("{}", fmt::join(sentences, "; "));
  }

  bool is_finite_input(std::int64_t element) const { return std::isfinite(line_.element(input_, element)); }

  /// Where the bars are too wide for the tensor's own scale, agreement means nothing. A gradient of zeros has no scale:
  /// a slope that changes the outputs by a millionth, where the input moves by its own size, would show.
  void doubt_coarse_ones(std::vector<ElementVerdict>& verdicts, double scale) {
    const bool single = line_.inputs()[input_].dtype() != DType::f64 || judge_->largest_stair() > 0 ||
                        std::any_of(cotangents_.begin(), cotangents_.end(), [](const Tensor& cotangent) {
                          return cotangent.defined() && cotangent.dtype() != DType::f64;
                        });
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
      if (v.left_out) return -1.0;
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
        const Range range = k < subject_.ranges.size() ? subject_.ranges[k] : Range{};
        for (double& value : values) {
          const double next = value * (1 + 1e-4 * (2 * reader.next_uniform() - 1));
          if (!range.holds(value) || range.holds(next)) value = next;
        }
        moved[k] = from_values(moved[k].shape(), values, moved[k].dtype());
      }
      const std::optional<Tensors> gradients =
          unless_refused(subject_, [&] { return subject_.backward(moved, clones(cotangents_)); });
      if (!gradients) continue;
      const Numbers elsewhere = numbers_of((*gradients)[input_], static_cast<std::int64_t>(yours_.size()));
      if (largest_difference(elsewhere, yours_) <= 0.1 * claimed) continue;
      result_.note = "zero but for rounding";
      return true;
    }
    return false;
  }

  void check_elements() {
    const double claimed = largest_magnitude(yours_);
    for (std::int64_t e = 0; e < static_cast<std::int64_t>(yours_.size()); ++e) {
      if (!is_finite_input(e)) {
        result_.elements.push_back({.element = e, .yours = yours_[e], .expected = std::nan(""), .left_out = true});
        continue;
      }
      result_.elements.push_back(judge_->judge({input_, e, e + 1}, e, yours_[e], claimed));
      const ElementVerdict& element = result_.elements.back();
      if (element.verdict != Verdict::cannot_tell && !element.left_out)
        result_.scale = std::max(result_.scale, std::fabs(element.expected));
    }
    judge_->start_over();
    for (ElementVerdict& element : result_.elements) {
      if (judge_->is_to_be_judged_again(element, claimed))
        element = judge_->judge({input_, element.element, element.element + 1}, element.element, element.yours, claimed);
    }
    result_.checked = static_cast<std::int64_t>(yours_.size());
    const bool none = is_none();
    const double scale = none ? 0 : std::max(result_.scale, std::min(claimed, 1e300));
    doubt_coarse_ones(result_.elements, scale);
    for (const ElementVerdict& element : result_.elements) {
      if (scale > 0 && element.verdict == Verdict::agree && !element.left_out)
        result_.detection_limit = std::max(result_.detection_limit, element.allowed / scale);
    }
    if (const ElementVerdict* worst = worst_of(result_.elements)) result_.worst = *worst;
    if (none) return;
    prove_sight([&](const Numbers& mutant) {
      return std::any_of(result_.elements.begin(), result_.elements.end(), [&](const ElementVerdict& element) {
        return element.verdict != Verdict::cannot_tell && !element.left_out &&
               !(std::fabs(mutant[element.element] - element.expected) <= element.allowed);
      });
    });
  }

  void check_directions() {
    const std::int64_t count = static_cast<std::int64_t>(yours_.size());
    double squares = 0;
    for (std::int64_t e = 0; e < count; ++e) {
      if (!is_finite_input(e)) {  // it does not move
        yours_[e] = 0;
        ++result_.left_out;
      }
      squares += std::isfinite(yours_[e]) ? yours_[e] * yours_[e] : 0;
    }
    const double length = std::sqrt(squares);
    std::vector<ElementVerdict>& verdicts = result_.directions;
    std::vector<Signs> all_signs;
    for (int k = 0; k < options_.directions; ++k) {
      auto signs = std::make_shared<std::vector<std::int8_t>>(yours_.size());
      StreamReader reader(options_.seed, 100 + 16 * input_ + static_cast<std::size_t>(k));
      for (std::int64_t e = 0; e < count;) {
        for (std::uint32_t word = reader.next_word(), bit = 0; bit < 32 && e < count; ++bit, ++e)
          (*signs)[e] = !line_.can_move(input_, e) ? 0 : (word >> bit) & 1 ? 1 : -1;
      }
      all_signs.push_back(signs);
      const bool is_first = std::none_of(verdicts.begin(), verdicts.end(), [](const ElementVerdict& verdict) {
        return verdict.verdict == Verdict::disagree;
      });
      verdicts.push_back(judge_->judge({input_, 0, count, signs}, k, dot(yours_, *signs, 0, count), length, is_first));
      if (verdicts.back().verdict != Verdict::agree && is_affordable_by_element()) return check_elements_instead();
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
      if (result_.scale > 0 && verdict.verdict == Verdict::agree)
        result_.detection_limit = std::max(result_.detection_limit, verdict.allowed / result_.scale);
      result_.verdict = worse(result_.verdict, verdict.verdict);
    }
    if (result_.verdict != Verdict::agree && is_affordable_by_element()) return check_elements_instead();
    const auto disagreeing = std::find_if(verdicts.begin(), verdicts.end(), [](const ElementVerdict& verdict) {
      return verdict.verdict == Verdict::disagree;
    });
    if (disagreeing != verdicts.end())
      return find_culprits(all_signs[static_cast<std::size_t>(disagreeing - verdicts.begin())]);
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

  bool is_affordable_by_element() const {
    const auto count = static_cast<double>(yours_.size());
    return count * (count + static_cast<double>(line_.output_elements())) <= affordable_elements;
  }

  /// What a direction does not settle, single elements do: fewer kinks lie in their way.
  void check_elements_instead() {
    result_.by_direction = false;
    result_.left_out = 0;
    judge_.emplace(point_, input_, own_rounding_);
    check_elements();
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
        ElementVerdict verdict = judge_->judge({input_, begin, end}, begin, yours_[begin], 0);
        if (verdict.verdict == Verdict::disagree) result_.elements.push_back(verdict);
        continue;
      }
      const std::int64_t middle = begin + (end - begin) / 2;
      const Derivative first =
          line_.quick_derivative({input_, begin, middle, signs}, std::fabs(residual) / 100, whole.noise);
      const double first_residual = dot(yours_, *signs, begin, middle) - first.value;
      const auto is_suspect = [&](const Suspects& half) {
        return !(std::fabs(half.residual) <=
                 Judge::bars_allowed * half.bar + judge_->rounding({input_, half.begin, half.end, signs}));
      };
      // The first half is looked at first.
      if (const Suspects half{middle, end, residual - first_residual, bar + first.bar}; is_suspect(half))
        stack.push_back(half);
      if (const Suspects half{begin, middle, first_residual, first.bar}; is_suspect(half)) stack.push_back(half);
    }
    has_no_culprit_ = result_.elements.empty();
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
      double change = 0;
      for (std::size_t e = 0; e < mutant.size(); ++e) {
        const bool counts = result_.by_direction || !result_.elements[e].left_out;
        if (counts && !(std::fabs(mutant[e] - yours_[e]) <= change)) change = std::fabs(mutant[e] - yours_[e]);
      }
      if (change <= 1e-6 * scale) continue;  // changes nothing here
      ++result_.mutants;
      if (rejects(mutant)) ++result_.mutants_caught;
      else result_.blind_to.push_back(name);
    }
  }

  const CheckedPoint& point_;
  const Subject& subject_;
  Line& line_;
  const Tensors& cotangents_;
  const CheckOptions& options_;
  const std::size_t input_;
  Numbers yours_;
  const Numbers& own_rounding_;
  std::optional<Judge> judge_;
  bool has_no_culprit_ = false;
  InputReport result_;
};

}  // namespace

InputReport check_input(const CheckedPoint& point, std::size_t input, const Tensor& gradient, const Numbers& own_rounding) {
  return InputCheck(point, input, gradient, own_rounding).run();
}

}  // namespace gradus::testing
