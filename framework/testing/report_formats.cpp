#include "framework/testing/report_formats.h"

#include <algorithm>
#include <map>

#include "framework/base/printable.h"
#include "framework/testing/jacobian.h"

namespace gradus::testing {
namespace {

/// As programs read it: agree, disagree, cannot tell.
std::string in_lower_case(Verdict verdict) { return to_string(outcome_of(verdict)); }

/// For XML 1.0, which cannot hold all controls: they and markup are escaped; in an attribute, newlines too.
std::string escaped(const std::string& text, bool in_attribute = true) {
  std::string result;
  for (const char c : printable(text, "\n\t")) {
    switch (c) {
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '&': result += "&amp;"; break;
      case '"': result += "&quot;"; break;
      case '\n': result += in_attribute ? "&#10;" : "\n"; break;
      case '\t': result += in_attribute ? "&#9;" : "\t"; break;
      default: result += c;
    }
  }
  return result;
}

/// The element of a test case that did not pass; empty for one that did.
std::string junit_element(Outcome outcome) {
  switch (outcome) {
    case Outcome::agree: return "";
    case Outcome::cannot_tell: return "skipped";
    case Outcome::disagree: return "failure";
    default: return "error";
  }
}

std::string case_name(const CheckReport& report) {
  return fmt::format("{}{}", report.label.empty() ? report.call : report.label,
                     report.order == 2 ? ", second order" : "");
}

nlohmann::ordered_json to_json(const InputReport& input) {
  nlohmann::ordered_json json = {{"input", input.name},
                                 {"dtype", to_string(input.spec.dtype)},
                                 {"shape", input.spec.shape.to_vector()},
                                 {"verdict", in_lower_case(input.verdict)},
                                 {"oracle", input.oracle},
                                 {"by", input.by_direction ? "direction" : "element"},
                                 {"checked", input.checked},
                                 {"failed", input.failed},
                                 {"undecided", input.undecided},
                                 {"subgradients", input.subgradients},
                                 {"largest_gradient", input.scale},
                                 {"detection_limit", input.detection_limit},
                                 {"mutants", input.mutants},
                                 {"mutants_caught", input.mutants_caught},
                                 {"worst",
                                  {{"element", input.worst.element},
                                   {"yours", input.worst.yours},
                                   {"expected", input.worst.expected},
                                   {"bar", input.worst.bar}}}};
  if (!input.note.empty()) json["note"] = input.note;
  return json;
}

}  // namespace

std::string to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::agree: return "agree";
    case Outcome::cannot_tell: return "cannot tell";
    case Outcome::error: return "error";
    case Outcome::disagree: return "disagree";
    case Outcome::crash: return "crash";
  }
  return "unknown";
}

Outcome outcome_of(Verdict verdict) {
  return verdict == Verdict::agree      ? Outcome::agree
         : verdict == Verdict::disagree ? Outcome::disagree
                                        : Outcome::cannot_tell;
}

nlohmann::ordered_json json_report(Outcome outcome, int exit_code, double seconds) {
  return {{"schema", "gradus.gradcheck"},
          {"version", 2},
          {"verdict", to_string(outcome)},
          {"exit_code", exit_code},
          {"seconds", seconds}};
}

nlohmann::ordered_json to_json(const CheckReport& report) {
  nlohmann::ordered_json json = {{"op", report.subject},
                                 {"sample", report.label},
                                 {"call", report.call},
                                 {"seed", report.seed},
                                 {"order", report.order},
                                 {"verdict", in_lower_case(report.verdict)},
                                 {"inputs", {}},
                                 {"contracts", {}},
                                 {"cause", nullptr},
                                 {"note", report.note},
                                 {"rerun", report.rerun},
                                 {"evaluations", report.evaluations},
                                 {"seconds", report.seconds}};
  json["inputs"] = nlohmann::ordered_json::array();
  for (const InputReport& input : report.inputs) json["inputs"].push_back(to_json(input));
  json["contracts"] = nlohmann::ordered_json::array();
  for (const ContractReport& contract : report.contracts) {
    json["contracts"].push_back({{"name", contract.name},
                                 {"result", contract.skipped ? "skipped"
                                            : contract.held  ? "held"
                                                             : "broken"},
                                 {"finding", contract.finding}});
  }
  if (report.hint) {
    json["cause"] = {
        {"name", to_string(report.hint->cause)},
        {"input", report.hint->input},
        {"sentence", report.hint->sentence},
        {"share", report.hint->share ? nlohmann::ordered_json(*report.hint->share) : nlohmann::ordered_json(nullptr)}};
  }
  return json;
}

nlohmann::ordered_json to_json(const RecordReport& report) {
  nlohmann::ordered_json json = {{"op", report.op},
                                 {"passed", report.passed()},
                                 {"verdict", in_lower_case(report.verdict())},
                                 {"seconds", report.seconds}};
  json["suites"] = nlohmann::ordered_json::array();
  for (const CheckResult& suite : report.suites)
    json["suites"].push_back({{"suite", suite.suite}, {"cases", suite.cases}, {"failures", suite.failures}});
  json["gradients"] = nlohmann::ordered_json::array();
  for (const CheckReport& gradient : report.gradients) json["gradients"].push_back(to_json(gradient));
  return json;
}

JunitCase to_junit(const CheckReport& report) {
  JunitCase result{.class_name = report.subject,
                   .name = case_name(report),
                   .seconds = report.seconds,
                   .outcome = outcome_of(report.verdict)};
  if (report.passed()) return result;
  result.message = finding_of(report);
  result.body = to_text(report);
  return result;
}

std::vector<JunitCase> to_junit(const RecordReport& report) {
  std::vector<JunitCase> cases;
  for (const CheckResult& suite : report.suites) {
    JunitCase result{.class_name = report.op, .name = suite.suite};
    if (!suite.failures.empty()) {
      result.outcome = Outcome::disagree;
      result.message = suite.failures.front().substr(0, suite.failures.front().find('\n'));
      for (const std::string& failure : suite.failures) result.body += failure + "\n";
    }
    cases.push_back(std::move(result));
  }
  for (const CheckReport& gradient : report.gradients) {
    if (gradient.verdict == Verdict::cannot_tell) cases.push_back(to_junit(gradient));
  }
  return cases;
}

std::string junit_text(const std::vector<JunitCase>& cases) {
  std::map<std::string, int> count;
  double seconds = 0;
  for (const JunitCase& one : cases) ++count[junit_element(one.outcome)], seconds += one.seconds;
  std::string text = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"gradus.gradcheck\" tests=\"{}\" failures=\"{}\" "
      "skipped=\"{}\" errors=\"{}\" time=\"{:.3f}\">\n",
      cases.size(), count["failure"], count["skipped"], count["error"], seconds);
  for (const JunitCase& one : cases) {
    text += fmt::format("  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3f}\"", escaped(one.class_name),
                        escaped(one.name), one.seconds);
    const std::string element = junit_element(one.outcome);
    if (element.empty()) {
      text += "/>\n";
    } else {
      text += fmt::format(">\n    <{0} message=\"{1}\">{2}</{0}>\n  </testcase>\n", element, escaped(one.message),
                          escaped(one.body, false));
    }
  }
  return text + "</testsuite>\n";
}

std::string finding_of(const CheckReport& report) {
  if (report.passed()) return "";
  const std::string said = report.hint                           ? report.hint->sentence
                           : report.verdict == Verdict::disagree ? "the gradient is wrong"
                           : !report.note.empty()                ? report.note
                                                                 : "cannot tell whether the gradient is right";
  for (const InputReport& input : report.inputs) {
    if (input.verdict != report.verdict) continue;
    const std::string place =
        input.by_direction && input.elements.empty() ? "" : place_of(input.spec.shape, input.worst.element);
    return fmt::format("{}{}: {} (yours {:.6g}, expected {:.6g})", input.name, place, said, input.worst.yours,
                       input.worst.expected);
  }
  return said;
}

std::string editor_line(const std::string& file, const CheckReport& report) {
  const std::string finding = finding_of(report);
  const bool names_input = std::any_of(report.inputs.begin(), report.inputs.end(),
                                       [&](const InputReport& input) { return input.verdict == report.verdict; });
  return report.passed() ? "" : fmt::format("{}:{}:{}{}", file, report.subject, names_input ? "" : " ", finding);
}

}  // namespace gradus::testing
