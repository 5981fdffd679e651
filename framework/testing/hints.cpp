#include "framework/testing/hints.h"

#include "framework/testing/hint_finder.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {

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
  // Of a large input only derivatives along directions are known: enough for hypotheses about the whole of it.
  const std::vector<ElementVerdict>& numbers = of_input_.by_direction ? of_input_.directions : of_input_.elements;
  for (const ElementVerdict& element : numbers) {
    yours_.push_back(element.yours);
    expected_.push_back(element.expected);
    known_.push_back(element.verdict != Verdict::cannot_tell && std::isfinite(element.expected));
    wrong_.push_back(element.verdict == Verdict::disagree);
  }
  scale_ = std::max(largest_magnitude(expected_), largest_magnitude(yours_));
  for (const ElementVerdict& element : numbers) slack_.push_back(4 * element.allowed + 1e-10 * scale_);
}

std::optional<Hint> HintFinder::find() {
  using Hypothesis = std::optional<Hint> (HintFinder::*)();
  static const std::vector<Hypothesis> of_the_whole = {&HintFinder::zero, &HintFinder::sign,
                                                       &HintFinder::constant_factor, &HintFinder::any_constant_factor};
  static const std::vector<Hypothesis> all = {&HintFinder::not_finite,
                                              &HintFinder::zero,
                                              &HintFinder::sign,
                                              &HintFinder::constant_factor,
                                              &HintFinder::axes_permuted,
                                              &HintFinder::other_input,
                                              &HintFinder::some_parts,
                                              &HintFinder::mask_turned_round,
                                              &HintFinder::wrong_where_a_condition_holds,
                                              &HintFinder::jacobian,
                                              &HintFinder::constant_residual,
                                              &HintFinder::residual_times_output,
                                              &HintFinder::wrong_order,
                                              &HintFinder::skip_connection,
                                              &HintFinder::factor_by_element,
                                              &HintFinder::wrong_beyond_a_threshold,
                                              &HintFinder::wrong_point,
                                              &HintFinder::operand_exchanged,
                                              &HintFinder::rounded,
                                              &HintFinder::any_constant_factor};
  for (const Hypothesis hypothesis : of_input_.by_direction ? of_the_whole : all) {
    if (std::optional<Hint> hint = (this->*hypothesis)()) {
      hint->input = of_input_.name;
      return hint;
    }
  }
  return std::nullopt;
}

std::int64_t HintFinder::weighty(bool wrong) const {
  std::int64_t result = 0;
  for (std::int64_t e = 0; e < count(); ++e) result += known_[e] && wrong_[e] == wrong && !is_zero(e);
  return result;
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

Hint HintFinder::hint(Cause cause, std::string sentence, const Numbers& explanation) const {
  double left = 0, all = 0;
  for (std::int64_t e = 0; e < count(); ++e) {
    if (!known_[e] || !std::isfinite(yours_[e])) continue;
    left += (yours_[e] - explanation[e]) * (yours_[e] - explanation[e]);
    all += (yours_[e] - expected_[e]) * (yours_[e] - expected_[e]);
  }
  return {.cause = cause,
          .input = "",
          .sentence = std::move(sentence),
          .share = all > 0 ? std::optional(std::clamp(1 - left / all, 0.0, 1.0)) : std::nullopt};
}

Hint HintFinder::hint(Cause cause, std::string sentence) const {
  return {.cause = cause, .input = "", .sentence = std::move(sentence)};
}

std::optional<Hint> HintFinder::jacobian() {
  const std::optional<Jacobians> jacobians = Jacobians::find(subject_, line_, cotangents_, input_);
  return jacobians ? jacobians->hint() : std::nullopt;
}

std::optional<Hint> find_hint(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
                              const CheckReport& report, std::size_t report_input, std::size_t input) {
  const InputReport& checked = report.inputs[report_input];
  if (checked.elements.empty() && checked.directions.empty()) return std::nullopt;
  return HintFinder(subject, line, cotangents, gradients, report, report_input, input).find();
}

}  // namespace gradus::testing
