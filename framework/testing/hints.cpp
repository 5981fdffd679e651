#include "framework/testing/hints.h"

#include <list>

#include "framework/testing/hint_finder.h"
#include "framework/testing/jacobian.h"
#include "framework/testing/other_points.h"

namespace gradus::testing {
namespace {

/// Of the difference (its squares), for whatever predicts a gradient.
constexpr double least_share = 0.9;

/// The one place that decides whether a cause is named: it explains the difference, which is far above the bars, and it
/// is found again at other points.
class Causes {
 public:
  Causes(HintFinder here, OtherPoints others) : here_(std::move(here)), others_(std::move(others)) {}

  /// What explains it.
  std::optional<Hint> reason() {
    std::optional<Hint> hint = first_sure(HintFinder::about_numbers());
    if (!hint) hint = sure_condition(false);
    if (!hint) hint = first_sure(HintFinder::about_parts());
    return hint;
  }
  std::optional<Hint> first_sure(const std::vector<HintFinder::Hypothesis>& hypotheses) {
    std::optional<Hint> hint;
    for (auto hypothesis = hypotheses.begin(); !hint && hypothesis != hypotheses.end(); ++hypothesis)
      hint = sure(*hypothesis);
    return hint;
  }
  /// `last_resort`: what says only where it is wrong.
  std::optional<Hint> sure_condition(bool last_resort) {
    if (here_.is_by_direction() || !here_.is_sharp() || here_.known_share() < 0.75) return std::nullopt;
    for (const Finding& finding : here_.conditions(last_resort)) {
      if (holds_elsewhere(*finding.condition)) return with_its_manner(finding);
    }
    return std::nullopt;
  }

 private:
  std::optional<Hint> sure(HintFinder::Hypothesis hypothesis) {
    std::optional<Finding> found = (here_.*hypothesis)();
    if (!found || !explains_enough(*found)) return std::nullopt;
    if (!found->is_plain && !(here_.is_sharp() && is_found_again(hypothesis, *found))) return std::nullopt;
    return found->hint;
  }
  static bool explains_enough(const Finding& finding) {
    return !finding.hint.share || *finding.hint.share >= least_share;
  }

  /// Where a prediction is not borne out at one point, the other may do: by chance it could be at neither. What only
  /// describes must be found at the first.
  bool is_found_again(HintFinder::Hypothesis hypothesis, Finding& finding) {
    if (here_.is_by_direction()) return true;  // directions are drawn at random: as good as other points
    return (others_.shuffled() && is_found_at(*others_.shuffled(), hypothesis, finding)) ||
           (finding.hint.share && others_.inner() && is_found_at(*others_.inner(), hypothesis, finding));
  }
  static bool is_found_at(HintFinder& there, HintFinder::Hypothesis hypothesis, Finding& finding) {
    const std::optional<Finding> again = (there.*hypothesis)();
    if (!again || !explains_enough(*again) || again->hint.cause != finding.hint.cause || again->claim != finding.claim)
      return false;
    if (!finding.number) return true;
    if (again->number && std::fabs(*finding.number - *again->number) <= 1e-5 * std::fabs(*finding.number))
      return true;
    if (!finding.otherwise.empty()) finding.hint.sentence = finding.otherwise;
    return !finding.otherwise.empty();
  }

  /// What goes with the places must stay there, what goes with the values must move with them; and where the values
  /// that stand out are left away, it must be as the condition says.
  bool holds_elsewhere(const Condition& condition) {
    if (!others_.shuffled()) return false;
    HintFinder::Support sum;
    for (HintFinder* const there : {others_.shuffled(), others_.inner()}) {
      if (!there || there->known_share() < 0.75) continue;
      const HintFinder::Support support = there->support_of(condition);
      if (support.contradicted) return false;
      sum.wrong += support.wrong;
      sum.right += support.right;
    }
    return sum.wrong > 0 && sum.right > 0;
  }

  Hint with_its_manner(const Finding& finding) {
    const Condition& condition = *finding.condition;
    const HintFinder::Manner manner = here_.manner_of(condition.marks(here_));
    if (manner.text != others_.shuffled()->manner_of(condition.marks(*others_.shuffled())).text) return finding.hint;
    const std::string sentence = condition.where + (condition.yours_is_zero ? "" : manner.text);
    return manner.explanation ? here_.finding(condition.cause, sentence, *manner.explanation).hint
                              : here_.finding(condition.cause, sentence).hint;
  }

  HintFinder here_;
  OtherPoints others_;
};

}  // namespace

HintFinder::HintFinder(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
                       const CheckReport& report, std::size_t report_input, std::size_t input)
    : subject_(subject),
      line_(line),
      cotangents_(cotangents),
      gradients_(gradients),
      report_(report),
      input_(input),
      of_input_(report.inputs[report_input]) {
  shape_ = of_input_.spec.shape;
  const std::vector<ElementVerdict>& numbers = of_input_.by_direction ? of_input_.directions : of_input_.elements;
  for (const ElementVerdict& element : numbers) {
    yours_.push_back(element.yours);
    expected_.push_back(element.expected);
    known_.push_back(element.verdict != Verdict::cannot_tell && !element.left_out && std::isfinite(element.expected));
    wrong_.push_back(element.verdict == Verdict::disagree);
    allowed_.push_back(element.allowed);
  }
  scale_ = std::max(largest_magnitude(expected_), largest_magnitude(yours_));
  for (const ElementVerdict& element : numbers) {
    // A candidate is made of other elements, whose bars may be wider; but no difference is explained by slack.
    const double floor = 1e-10 * scale_, difference = std::fabs(element.yours - element.expected);
    slack_.push_back(4 * element.allowed +
                     (element.verdict == Verdict::disagree ? std::min(floor, 0.01 * difference) : floor));
  }
}

const std::vector<HintFinder::Hypothesis>& HintFinder::about_directions() {
  static const std::vector<Hypothesis> all = {&HintFinder::zero, &HintFinder::sign, &HintFinder::named_factor,
                                              &HintFinder::any_factor, &HintFinder::few_elements};
  return all;
}

const std::vector<HintFinder::Hypothesis>& HintFinder::about_numbers() {
  static const std::vector<Hypothesis> all = {&HintFinder::not_finite,
                                              &HintFinder::zero,
                                              &HintFinder::sign,
                                              &HintFinder::attribute_ignored,
                                              &HintFinder::named_factor,
                                              &HintFinder::any_factor,
                                              &HintFinder::axes_permuted,
                                              &HintFinder::other_input,
                                              &HintFinder::mask_turned_round,
                                              &HintFinder::rounded};
  return all;
}

const std::vector<HintFinder::Hypothesis>& HintFinder::about_parts() {
  static const std::vector<Hypothesis> all = {
      &HintFinder::jacobian,    &HintFinder::constant_residual, &HintFinder::residual_times_output,
      &HintFinder::wrong_order, &HintFinder::skip_connection,   &HintFinder::factor_by_element,
      &HintFinder::wrong_point, &HintFinder::operand_exchanged, &HintFinder::factor_by_place};
  return all;
}

std::int64_t HintFinder::weighty(bool wrong) const {
  std::int64_t result = 0;
  for (std::int64_t e = 0; e < count(); ++e) result += known_[e] && wrong_[e] == wrong && !is_zero(e);
  return result;
}

bool HintFinder::is_sharp() const {
  double sharp = 0, all = 0;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e] || !std::isfinite(yours_[e])) continue;
    const double difference = std::fabs(yours_[e] - expected_[e]);
    all += difference * difference;
    if (difference >= 2.5 * slack_[e]) sharp += difference * difference;
  }
  return sharp >= least_share * all && all > 0;
}

double HintFinder::known_share() const {
  return double(std::count(known_.begin(), known_.end(), true)) / double(count());
}

bool HintFinder::fits(const Numbers& candidate, double widen) const {
  for (std::int64_t e = 0; e < count(); ++e) {
    if (known_[e] && !(std::fabs(yours_[e] - candidate[e]) <= widen * slack_[e])) return false;
  }
  return true;
}

bool HintFinder::is_expected(const Numbers& candidate) const {
  for (std::int64_t e = 0; e < count(); ++e) {
    if (known_[e] && !(std::fabs(expected_[e] - candidate[e]) <= slack_[e])) return false;
  }
  return true;
}

Numbers HintFinder::times_expected(double factor) const {
  Numbers result = expected_;
  for (double& value : result) value *= factor;
  return result;
}

Finding HintFinder::finding(Cause cause, std::string sentence, const Numbers& explanation) const {
  double left = 0, all = 0;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e] || !std::isfinite(yours_[e])) continue;
    left += (yours_[e] - explanation[e]) * (yours_[e] - explanation[e]);
    all += (yours_[e] - expected_[e]) * (yours_[e] - expected_[e]);
  }
  Finding result = finding(cause, std::move(sentence));
  if (all > 0) result.hint.share = std::clamp(1 - left / all, 0.0, 1.0);
  return result;
}

Finding HintFinder::finding(Cause cause, std::string sentence) const {
  return {.hint = {.cause = cause, .input = of_input_.name, .sentence = sentence}, .claim = sentence};
}

std::optional<Finding> HintFinder::jacobian() {
  const std::optional<Jacobians> jacobians = Jacobians::find(subject_, line_, cotangents_, input_);
  std::optional<Finding> found = jacobians ? jacobians->find_cause() : std::nullopt;
  if (found) found->hint.input = of_input_.name;
  return found;
}

std::optional<Hint> find_hint(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
                              const CheckReport& report, const JudgeElsewhere& judge) {
  std::list<Causes> of_inputs;
  for (std::size_t r = 0; r < report.inputs.size(); ++r) {
    const InputReport& checked = report.inputs[r];
    if (checked.verdict != Verdict::disagree || (checked.elements.empty() && checked.directions.empty())) continue;
    const std::size_t input =
        std::find(subject.inputs.begin(), subject.inputs.end(), checked.name) - subject.inputs.begin();
    Causes& causes = of_inputs.emplace_back(HintFinder(subject, line, cotangents, gradients, report, r, input),
                                            OtherPoints(subject, line, cotangents, report, input, judge));
    if (std::optional<Hint> hint =
            checked.by_direction ? causes.first_sure(HintFinder::about_directions()) : causes.reason())
      return hint;
  }
  for (Causes& causes : of_inputs) {
    if (std::optional<Hint> hint = causes.sure_condition(true)) return hint;
  }
  return std::nullopt;
}

}  // namespace gradus::testing
