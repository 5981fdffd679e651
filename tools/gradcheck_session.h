// One run of `gradus gradcheck`: what every check found is printed, collected for JSON and JUnit, and becomes the exit
// code.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/testing/report_formats.h"
#include "framework/testing/sweep.h"
#include "tools/gradcheck_watch.h"

namespace gradus::tools {

struct GradcheckOutput {
  std::string json, junit;                                ///< paths; empty: none
  bool explain = false, mutants = false, strict = false;  ///< strict: "cannot tell" counts as wrong
  bool hide_seed = false;                                 ///< no report says which numbers were drawn
  double time_limit = 0;                                  ///< seconds for everything; 0: none
};

/// What kept an op from being judged at all, or a promise that it broke on the way.
struct GradcheckFailure {
  std::string shared_library = {}, op = {}, call = {};
  std::string kind = {};      ///< `crashed`, `timed out`, `out of bounds`, ...
  std::string sentence = {};  ///< names library, op, function and tensor
  std::string rerun = {};
  testing::Outcome outcome = testing::Outcome::error;  ///< agree: nothing is wrong, there is only nothing to check
};

class GradcheckSession {
 public:
  /// Puts reports that say "not finished" in the place of old ones. Throws UsageError where one cannot be written.
  explicit GradcheckSession(const GradcheckOutput& output);

  /// `file`: what editors are to open, the library or source; empty: no line for them.
  void add(const testing::CheckReport& report, const std::string& file = "");
  /// With another text for people.
  void add(const testing::CheckReport& report, const std::string& file, const std::string& text);
  void add(const testing::RecordReport& report);
  /// `drawn`: what was drawn anew, "draws" or "points".
  void add(const testing::SweepReport& report, const std::string& drawn = "draws", const std::string& file = "");
  void add(const GradcheckFailure& failure);
  /// What was not checked, as the time was over.
  void add_unchecked(const std::string& op, const std::string& what);

  GradcheckWatch& watch() { return watch_; }

  /// Writes the files. Throws ExitWith for the most serious outcome: 6 crashed or timed out, 1 wrong, 3 could not be
  /// judged, 5 cannot tell; 2 where there was nothing to check at all.
  void finish();
  /// Writes the files for a failure that ends the run with this exit code; the caller prints it.
  void abandon(const GradcheckFailure& failure, int exit_code);

 private:
  void note(testing::Outcome outcome) { outcome_ = std::max(outcome_, outcome); }
  void print(const testing::CheckReport& report, const std::string& file, const std::string& text);
  testing::CheckReport shown(testing::CheckReport report) const;
  nlohmann::ordered_json json_of(const testing::CheckReport& report) const;
  /// Without printing.
  void record(const GradcheckFailure& failure);
  void add_case(testing::JunitCase one);
  int exit_code() const;
  void write_unfinished();
  void write(testing::Outcome outcome, int exit_code) const;

  GradcheckOutput output_;
  testing::Outcome outcome_ = testing::Outcome::agree;
  GradcheckWatch watch_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  nlohmann::ordered_json ops_ = nlohmann::ordered_json::array(), checks_ = ops_, failures_ = ops_;
  std::vector<testing::JunitCase> cases_;
};

}  // namespace gradus::tools
