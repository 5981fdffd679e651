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
using testing::RecordReport;
using testing::Verdict;

namespace {

enum ExitCode { wrong = 1, undecided = 5, crashed = 6 };

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

GradcheckSession::GradcheckSession(const GradcheckOutput& output) : output_(output) {
  prepare_json(output.json);
  if (!output.junit.empty()) io::require_writable(output.junit);
  require_distinct({}, {{"--json", output.json}, {"--junit", output.junit}});
}

void GradcheckSession::add(const CheckReport& report, const std::string& file) {
  add(report, file, to_text(report, output_.explain));
}

void GradcheckSession::add(const CheckReport& report, const std::string& file, const std::string& text) {
  std::cout << text;
  if (output_.mutants) std::cout << mutant_lines(report);
  if (!file.empty() && !report.passed()) std::cout << printable(editor_line(file, report)) << "\n";
  std::cout << std::flush;
  note(report.verdict);
  checks_.push_back(to_json(report));
  cases_.push_back(to_junit(report));
}

void GradcheckSession::add(const RecordReport& report) {
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
  note(report.verdict());
  ops_.push_back(to_json(report));
  for (testing::JunitCase& one : to_junit(report)) cases_.push_back(std::move(one));
}

void GradcheckSession::add(const testing::SweepReport& report) {
  std::cout << fmt::format("{:30} {:4} draws, {} with their own sizes: {} agree, {} cannot tell, {} disagree\n",
                           report.op, report.draws, report.draws - report.sizes_kept, report.agree, report.cannot_tell,
                           report.disagree);
  const bool all_agree = report.disagree == 0 && report.cannot_tell == 0;
  if (all_agree && !report.not_varied.empty())
    std::cout << fmt::format("  not varied: {}\n", fmt::join(report.not_varied, ", "));
  std::cout << std::flush;
  ops_.push_back({{"op", report.op},
                  {"draws", report.draws},
                  {"sizes_kept", report.sizes_kept},
                  {"agree", report.agree},
                  {"cannot_tell", report.cannot_tell},
                  {"disagree", report.disagree},
                  {"not_varied", report.not_varied}});
  for (const CheckReport& doubtful : report.doubtful) add(doubtful);
}

void GradcheckSession::add(const GradcheckFailure& failure) {
  std::string kind = failure.kind;
  std::transform(kind.begin(), kind.end(), kind.begin(), [](unsigned char c) { return std::toupper(c); });
  const std::string sentence = printable(failure.sentence);
  std::cout << fmt::format("{:44} {:60} {}\n  {}\n", failure.op, failure.call, kind, sentence);
  if (!failure.rerun.empty()) std::cout << "  rerun: " << printable(failure.rerun) << "\n";
  std::cout << printable(failure.shared_library) << (failure.op.empty() ? "" : ":" + failure.op) << ": " << sentence
            << "\n"
            << std::flush;
  note(Verdict::disagree);
  gone_ = gone_ || failure.gone;
  failures_.push_back({{"library", failure.shared_library},
                       {"op", failure.op},
                       {"kind", failure.kind},
                       {"sentence", failure.sentence},
                       {"rerun", failure.rerun}});
  cases_.push_back({.class_name = failure.shared_library,
                    .name = failure.op.empty() ? "loading" : failure.op,
                    .failure = failure.sentence});
}

void GradcheckSession::finish() const {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  nlohmann::ordered_json json = testing::json_report(verdict_, seconds);
  json["ops"] = ops_;
  json["checks"] = checks_;
  json["failures"] = failures_;
  write_json(output_.json, json);
  if (!output_.junit.empty()) io::write_file_atomically(output_.junit, testing::junit_text(cases_));
  if (gone_) throw ExitWith{crashed};
  if (verdict_ == Verdict::disagree) throw ExitWith{wrong};
  if (verdict_ == Verdict::cannot_tell) throw ExitWith{output_.strict ? wrong : undecided};
}

}  // namespace gradus::tools
