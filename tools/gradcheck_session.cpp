#include "tools/gradcheck_session.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>

#include "framework/base/printable.h"
#include "framework/io/files.h"
#include "tools/commands.h"
#include "tools/options.h"

namespace gradus::tools {

using testing::CheckReport;
using testing::InputReport;
using testing::Outcome;
using testing::RecordReport;

namespace {

enum ExitCode { wrong = 1, nothing_to_check = 2, not_judged = 3, undecided = 5, crashed = 6 };

std::string mutant_lines(const CheckReport& report) {
  std::string text;
  for (const InputReport& input : report.inputs) {
    std::string passed;
    for (const std::string& name : input.blind_to) passed += (passed.empty() ? "; passed: " : ", ") + name;
    text += fmt::format("  {}: {} of {} damaged gradients rejected{}\n", input.name, input.mutants_caught,
                        input.mutants, passed);
  }
  return text;
}

}  // namespace

GradcheckSession::GradcheckSession(const GradcheckOutput& output) : output_(output), watch_(output.time_limit) {
  prepare_json(output.json);
  if (!output.junit.empty()) io::require_writable(output.junit);
  require_distinct({}, {{"--json", output.json}, {"--junit", output.junit}});
  write_unfinished();
}

void GradcheckSession::write_unfinished() {
  const std::string json = output_.json;
  if (json == "-") output_.json.clear();  // it takes the last word alone
  record({.kind = "not finished", .sentence = "the check was started and did not come to its end"});
  write(Outcome::error, not_judged);
  output_.json = json;
  outcome_ = Outcome::agree;
  failures_.clear();
  cases_.clear();
}

/// Without what a report must not say.
CheckReport GradcheckSession::shown(CheckReport report) const {
  if (output_.hide_seed) report.rerun.clear();
  return report;
}

nlohmann::ordered_json GradcheckSession::json_of(const CheckReport& report) const {
  nlohmann::ordered_json json = to_json(report);
  if (output_.hide_seed) json["seed"] = nullptr;
  return json;
}

void GradcheckSession::add_case(testing::JunitCase one) {
  if (output_.strict && one.outcome == Outcome::cannot_tell) one.outcome = Outcome::disagree;
  cases_.push_back(std::move(one));
}

void GradcheckSession::print(const CheckReport& report, const std::string& file, const std::string& text) {
  watch_.hide();
  std::cout << text;
  if (output_.mutants) std::cout << mutant_lines(report);
  if (!file.empty() && !report.passed()) std::cout << printable(editor_line(file, report)) << "\n";
  std::cout << std::flush;
}

void GradcheckSession::add(const CheckReport& given, const std::string& file) {
  const CheckReport report = shown(given);
  add(report, file, to_text(report, output_.explain));
}

void GradcheckSession::add(const CheckReport& given, const std::string& file, const std::string& text) {
  const CheckReport report = shown(given);
  print(report, file, text);
  note(outcome_of(report.verdict));
  checks_.push_back(json_of(report));
  add_case(to_junit(report));
}

void GradcheckSession::add(const RecordReport& report) {
  watch_.hide();
  int cases = 0;
  for (const testing::CheckResult& suite : report.suites) cases += suite.cases;
  std::cout << fmt::format("{:30} {:11} {:4} cases  {:6.2f} s\n", report.op, report.passed() ? "agree" : "DISAGREE",
                           cases, report.seconds)
            << report.text() << std::flush;
  if (output_.mutants) {
    for (const CheckReport& gradient : report.gradients)
      std::cout << fmt::format("  {}{}\n", gradient.label, gradient.order == 2 ? ", second order" : "")
                << mutant_lines(gradient);
  }
  note(outcome_of(report.verdict()));
  nlohmann::ordered_json json = to_json(report);
  if (output_.hide_seed) {
    for (nlohmann::ordered_json& gradient : json["gradients"]) gradient["seed"] = gradient["rerun"] = nullptr;
  }
  ops_.push_back(std::move(json));
  for (testing::JunitCase& one : to_junit(report)) add_case(std::move(one));
}

void GradcheckSession::add(const testing::SweepReport& report, const std::string& drawn, const std::string& file) {
  watch_.hide();
  const std::string sizes =
      drawn == "draws" ? fmt::format(", {} with their own sizes", report.draws - report.sizes_kept) : "";
  std::cout << fmt::format("{:30} {:4} {}{}: {} agree, {} cannot tell, {} disagree\n", report.op, report.draws, drawn,
                           sizes, report.agree, report.cannot_tell, report.disagree);
  const bool all_agree = report.disagree == 0 && report.cannot_tell == 0;
  if (all_agree && !report.not_varied.empty())
    std::cout << fmt::format("  not varied: {}\n", fmt::join(report.not_varied, ", "));
  std::cout << std::flush;
  nlohmann::ordered_json each = nlohmann::ordered_json::array();
  for (const testing::Draw& draw : report.each) {
    const nlohmann::ordered_json seed =
        output_.hide_seed ? nlohmann::ordered_json() : nlohmann::ordered_json(draw.seed);
    each.push_back({{"number", draw.number},
                    {"seed", seed},
                    {"order", draw.order},
                    {"call", draw.call},
                    {"verdict", to_string(testing::outcome_of(draw.verdict))}});
    note(testing::outcome_of(draw.verdict));
    testing::JunitCase one;
    if (draw.doubtful >= 0) {
      const CheckReport doubtful = shown(report.doubtful[static_cast<std::size_t>(draw.doubtful)]);
      print(doubtful, file, to_text(doubtful, output_.explain));
      checks_.push_back(json_of(doubtful));
      one = to_junit(doubtful);
    }
    one.class_name = report.op;
    one.name = fmt::format("{} {}{}{}: {}", drawn.substr(0, drawn.size() - 1), draw.number,
                           output_.hide_seed ? "" : fmt::format(", seed {}", draw.seed),
                           draw.order == 2 ? ", second order" : "", draw.call);
    one.seconds = draw.seconds;
    add_case(std::move(one));
  }
  ops_.push_back({{"op", report.op},
                  {"draws", report.draws},
                  {"sizes_kept", report.sizes_kept},
                  {"agree", report.agree},
                  {"cannot_tell", report.cannot_tell},
                  {"disagree", report.disagree},
                  {"not_varied", report.not_varied},
                  {"each", std::move(each)}});
}

void GradcheckSession::add(const GradcheckFailure& given) {
  GradcheckFailure failure = given;
  if (output_.hide_seed) failure.rerun.clear();
  std::string kind = failure.kind;
  std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return std::toupper(c); });
  const std::string sentence = printable(failure.sentence);
  watch_.hide();
  std::cout << fmt::format("{:44} {:60} {}\n  {}\n", failure.op, failure.call, kind, sentence);
  if (!failure.rerun.empty()) std::cout << "  rerun: " << printable(failure.rerun) << "\n";
  std::cout << printable(failure.shared_library) << (failure.op.empty() ? "" : ":" + failure.op) << ": " << sentence
            << "\n"
            << std::flush;
  record(failure);
}

void GradcheckSession::record(const GradcheckFailure& failure) {
  note(failure.outcome);
  failures_.push_back({{"library", failure.shared_library},
                       {"op", failure.op},
                       {"call", failure.call},
                       {"kind", failure.kind},
                       {"verdict", failure.outcome == Outcome::agree ? "none" : to_string(failure.outcome)},
                       {"sentence", failure.sentence},
                       {"rerun", failure.rerun}});
  add_case({.class_name = failure.shared_library.empty() ? "gradcheck" : failure.shared_library,
            .name = failure.op.empty() ? "the run" : failure.op,
            .outcome = failure.outcome == Outcome::agree ? Outcome::cannot_tell : failure.outcome,
            .message = failure.sentence,
            .body = failure.rerun.empty() ? "" : "rerun: " + failure.rerun});
}

void GradcheckSession::add_unchecked(const std::string& op, const std::string& what) {
  CheckReport report;
  report.subject = op;
  report.label = what;
  report.verdict = testing::Verdict::cannot_tell;
  report.note = watch_.reason();
  add(report);
}

int GradcheckSession::exit_code() const {
  switch (outcome_) {
    case Outcome::agree: return 0;
    case Outcome::cannot_tell: return output_.strict ? wrong : undecided;
    case Outcome::error: return not_judged;
    case Outcome::disagree: return wrong;
    case Outcome::crash: return crashed;
  }
  return wrong;
}

void GradcheckSession::write(Outcome outcome, int exit_code) const {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  nlohmann::ordered_json json = testing::json_report(outcome, exit_code, seconds);
  json["ops"] = ops_;
  json["checks"] = checks_;
  json["failures"] = failures_;
  write_json(output_.json, json);
  if (!output_.junit.empty()) io::write_file_atomically(output_.junit, testing::junit_text(cases_));
}

void GradcheckSession::finish() {
  const bool checked = !ops_.empty() || !checks_.empty();
  if (outcome_ == Outcome::agree && !checked) {
    write(Outcome::error, nothing_to_check);
    throw ExitWith{nothing_to_check};
  }
  write(outcome_, exit_code());
  if (exit_code() != 0) throw ExitWith{exit_code()};
}

void GradcheckSession::abandon(const GradcheckFailure& failure, int exit_code) {
  watch_.hide();
  record(failure);
  write(Outcome::error, exit_code);
}

}  // namespace gradus::tools
