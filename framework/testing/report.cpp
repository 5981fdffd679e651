#include <algorithm>
#include <cmath>

#include "framework/testing/gradcheck.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {
namespace {

std::string with_bar(double value, double bar) { return fmt::format("{:.6g} +- {:.0e}", value, bar); }

/// In bars; relative, where the printed digits of a wrong value are those of the right one.
std::string off_by(const InputReport& input) {
  const ElementVerdict& worst = input.worst;
  const double difference = std::fabs(worst.yours - worst.expected);
  if (!std::isfinite(difference)) return "-";
  const bool look_equal = fmt::format("{:.6g}", worst.yours) == fmt::format("{:.6g}", worst.expected);
  if (input.verdict == Verdict::disagree && look_equal && worst.expected != 0)
    return fmt::format("{:.0e} of it", difference / std::fabs(worst.expected));
  return worst.bar > 0 ? fmt::format("{:.1g} bars", difference / worst.bar) : fmt::format("{:.1g}", difference);
}

/// |yours - expected| along the rows of the last axis, for tensors that fit on a screen.
std::string bars_of(const InputReport& input) {
  const Shape& shape = input.spec.shape;
  const std::int64_t columns = shape.rank() == 0 ? 1 : shape.back();
  const auto count = static_cast<std::int64_t>(input.elements.size());
  if (input.by_direction || columns < 2 || columns > 40 || count > 240 || count == 0) return "";
  double largest = 0;
  for (const ElementVerdict& element : input.elements) {
    const double difference = std::fabs(element.yours - element.expected);
    if (std::isfinite(difference)) largest = std::max(largest, difference);
  }
  static const char* blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string text;
  for (std::int64_t row = 0; row < count / columns && row < 6; ++row) {
    text += fmt::format("   row {} ", row);
    for (std::int64_t column = 0; column < columns; ++column) {
      const ElementVerdict& element = input.elements[row * columns + column];
      const double difference = std::fabs(element.yours - element.expected);
      text += !std::isfinite(difference) ? "!"
              : difference <= element.allowed || largest == 0
                  ? "·"
                  : blocks[std::min(7, static_cast<int>(7.999 * difference / largest))];
    }
  }
  return text.empty() ? "" : "  |yours - expected| " + text + "\n";
}

std::string step_curve(const std::vector<StepError>& errors) {
  std::string text = "  error of a plain central difference by step (relative; none of these is used):\n";
  for (const StepError& error : errors) {
    if (!std::isfinite(error.error)) {
      text += fmt::format("    {:8.1e}  not a number\n", error.step);
      continue;
    }
    const double digits = error.error > 0 ? std::clamp(16 + std::log10(error.error), 0.0, 20.0) : 0;
    text += fmt::format("    {:8.1e}  {:8.1e}  {}\n", error.step, error.error,
                        std::string(static_cast<std::size_t>(2 * digits), '*'));
  }
  return text;
}

}  // namespace

std::string to_string(Verdict verdict) {
  return verdict == Verdict::agree ? "agree" : verdict == Verdict::disagree ? "DISAGREE" : "cannot tell";
}

std::string to_text(const CheckReport& report, bool explain) {
  const std::string title = fmt::format("{}{}{}", report.subject, report.label.empty() ? "" : " (" + report.label + ")",
                                        report.order == 2 ? " second order" : "");
  std::string text = fmt::format("{:44} {:60} {}\n", title, report.call, to_string(report.verdict));
  if (report.verdict == Verdict::agree && !explain) {
    for (const InputReport& input : report.inputs) {
      for (const std::string& sentence : {input.note, input.refuted}) {
        if (!sentence.empty()) text += fmt::format("  {}: {}\n", input.name, sentence);
      }
    }
    if (!report.note.empty()) text += "  " + report.note + "\n";
    return text;
  }
  if (!report.inputs.empty())
    text += fmt::format("  {:14} {:>9}  {:12} {:>14}   {:24} {:>12}   {}\n", "input", "elements", "worst at", "yours",
                        "expected", "off by", "verdict");
  for (const InputReport& input : report.inputs) {
    const bool single = !input.by_direction || !input.elements.empty();
    std::string verdict = input.verdict == Verdict::agree         ? "ok"
                          : input.verdict == Verdict::cannot_tell ? "cannot tell"
                                                                  : "FAIL";
    if (!input.by_direction && input.failed > 0) verdict += fmt::format(" {}/{}", input.failed, input.checked);
    text += fmt::format(
        "  {:14} {:>9}  {:12} {:>14.7g}   {:24} {:>12}   {}\n", input.name, input.spec.shape.numel(),
        single ? place_of(input.spec.shape, input.worst.element) : fmt::format("direction {}", input.worst.element),
        input.worst.yours, with_bar(input.worst.expected, input.worst.bar), off_by(input), verdict);
    if (input.verdict == Verdict::disagree) text += bars_of(input);
    for (const std::string& sentence : {input.note, input.refuted}) {
      if (!sentence.empty()) text += "    " + sentence + "\n";
    }
  }
  if (!report.note.empty()) text += "  " + report.note + "\n";
  if (report.hint) {
    text +=
        report.hint->cause != Cause::unknown
            ? fmt::format(
                  "  likely cause{}: {}{}\n",
                  report.hint->share ? fmt::format(" (explains {:.0f}%)", std::floor(100 * *report.hint->share)) : "",
                  report.hint->input.empty() ? "" : "gradient of '" + report.hint->input + "': ", report.hint->sentence)
            : fmt::format("  {}\n", report.hint->sentence);
  } else if (report.verdict == Verdict::disagree) {
    text += "  likely cause: none of the known ones explains the difference\n";
  }
  if (!report.contracts.empty()) {
    text += "  also checked: ";
    bool first = true;
    for (const ContractReport& contract : report.contracts) {
      if (contract.skipped && !explain) continue;
      text += fmt::format("{}{} {}", first ? "" : " | ", contract.name,
                          contract.skipped ? "(" + contract.finding + ")"
                          : contract.held  ? "ok"
                                           : "BROKEN");
      first = false;
    }
    text += "\n";
    for (const ContractReport& contract : report.contracts) {
      if (!contract.held && !(report.hint && report.hint->sentence == contract.finding))
        text += fmt::format("  {}: {}\n", contract.name, contract.finding);
    }
  }
  std::int64_t subgradients = 0;
  for (const InputReport& input : report.inputs) subgradients += input.subgradients;
  if (subgradients > 0)
    text += fmt::format(
        "  {} element(s) lie on a kink: any slope between left and right is a valid subgradient there\n", subgradients);
  if (report.verdict != Verdict::disagree && report.mutants() > 0) {
    text += fmt::format(
        "  this run would have seen a single wrong element down to {:.0e} relative; {} of {} mutants caught\n",
        report.detection_limit(), report.mutants_caught(), report.mutants());
  }
  if (explain) {
    for (const InputReport& input : report.inputs) {
      text += fmt::format("  {}: judged by {}; largest gradient {:.6g}\n", input.name, input.oracle, input.scale);
    }
    if (!report.step_errors.empty()) text += step_curve(report.step_errors);
    text += fmt::format("  {} evaluations of forward, {:.3f} s\n", report.evaluations, report.seconds);
  }
  if (!report.rerun.empty() && !explain) text += "  rerun: " + report.rerun + "\n";
  return text;
}

}  // namespace gradus::testing
