#include "framework/testing/hints.h"

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
  Causes(HintFinder& here, OtherPoints& others) : here_(here), others_(others) {}

  bool is_sure(HintFinder::Hypothesis hypothesis, const Finding& finding) {
    if (!explains_enough(finding)) return false;
    return finding.is_plain || (here_.is_sharp() && is_found_again(hypothesis, finding));
  }
  bool is_sure(const Finding& finding) {
    return explains_enough(finding) && here_.is_sharp() && holds_elsewhere(*finding.condition);
  }
  static bool explains_enough(const Finding& finding) {
    return !finding.hint.share || *finding.hint.share >= least_share;
  }

 private:
  bool is_found_again(HintFinder::Hypothesis hypothesis, const Finding& finding) {
    HintFinder* const there = others_.shuffled() ? others_.shuffled() : others_.upstream();
    if (!there) return false;
    const std::optional<Finding> again = (there->*hypothesis)();
    if (!again || !explains_enough(*again) || again->hint.cause != finding.hint.cause || again->claim != finding.claim)
      return false;
    return !finding.number || std::fabs(*finding.number - *again->number) <= 1e-4 * std::fabs(*finding.number);
  }

  /// What goes with the places must stay there, what goes with the values must move with them; and where the values that
  /// stand out are left away, it must be as the condition says.
  bool holds_elsewhere(const Condition& condition) {
    if (!others_.shuffled()) return false;
    HintFinder::Support sum;
    for (HintFinder* const there : {others_.shuffled(), others_.inner()}) {
      if (!there) continue;
      const HintFinder::Support support = there->support_of(condition.marks(*there));
      if (support.contradicted) return false;
      sum.wrong += support.wrong;
      sum.right += support.right;
    }
    return sum.wrong > 0 && sum.right > 0;
  }

  HintFinder& here_;
  OtherPoints& others_;
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
    known_.push_back(element.verdict != Verdict::cannot_tell && std::isfinite(element.expected));
    wrong_.push_back(element.verdict == Verdict::disagree);
    allowed_.push_back(element.allowed);
  }
  scale_ = std::max(largest_magnitude(expected_), largest_magnitude(yours_));
  for (const ElementVerdict& element : numbers) slack_.push_back(4 * element.allowed + 1e-13 * scale_);
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
                                              &HintFinder::axes_permuted,
                                              &HintFinder::other_input,
                                              &HintFinder::some_parts,
                                              &HintFinder::mask_turned_round,
                                              &HintFinder::rounded,
                                              &HintFinder::any_factor,
                                              // conditions
                                              &HintFinder::jacobian,
                                              &HintFinder::constant_residual,
                                              &HintFinder::residual_times_output,
                                              &HintFinder::wrong_order,
                                              &HintFinder::skip_connection,
                                              &HintFinder::factor_by_element,
                                              &HintFinder::wrong_point,
                                              &HintFinder::operand_exchanged};
  return all;
}

bool HintFinder::is_after_conditions(Hypothesis hypothesis) { return hypothesis == &HintFinder::jacobian; }

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

bool HintFinder::is_mostly_known() const { return 2 * std::count(known_.begin(), known_.end(), true) > count(); }

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
                              const CheckReport& report, std::size_t report_input, std::size_t input,
                              const Judge& judge) {
  const InputReport& checked = report.inputs[report_input];
  if (checked.elements.empty() && checked.directions.empty()) return std::nullopt;
  HintFinder here(subject, line, cotangents, gradients, report, report_input, input);
  OtherPoints others(subject, line, cotangents, report, input, judge);
  Causes causes(here, others);
  if (checked.by_direction) {
    for (const HintFinder::Hypothesis hypothesis : HintFinder::about_directions()) {
      const std::optional<Finding> finding = (here.*hypothesis)();
      if (finding && here.is_sharp() && Causes::explains_enough(*finding)) return finding->hint;
    }
    return std::nullopt;
  }
  for (const HintFinder::Hypothesis hypothesis : HintFinder::about_numbers()) {
    if (HintFinder::is_after_conditions(hypothesis)) {
      for (const Finding& finding : here.conditions())
        if (causes.is_sure(finding)) return finding.hint;
    }
    const std::optional<Finding> finding = (here.*hypothesis)();
    if (finding && causes.is_sure(hypothesis, *finding)) return finding->hint;
  }
  return std::nullopt;
}

}  // namespace gradus::testing
