// One run of `gradus gradcheck`: what every check found is printed, collected for JSON and JUnit, and becomes the exit
// code.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/testing/report_formats.h"
#include "framework/testing/sweep.h"

namespace gradus::tools {

struct GradcheckOutput {
  std::string json, junit;                                ///< paths; empty: none
  bool explain = false, mutants = false, strict = false;  ///< strict: "cannot tell" counts as wrong
};

/// What kept an op from being judged at all, or a promise that it broke on the way.
struct GradcheckFailure {
  std::string shared_library, op, call;
  std::string kind;      ///< `crash`, `timeout`, `out of bounds`, ...
  std::string sentence;  ///< names library, op, function and tensor
  std::string rerun;
  bool gone = false;  ///< crashed or timed out
};

class GradcheckSession {
 public:
  /// Throws UsageError where an output cannot be written.
  explicit GradcheckSession(const GradcheckOutput& output);

  /// `file`: what editors are to open, the library or source; empty: no line for them.
  void add(const testing::CheckReport& report, const std::string& file = "");
  /// With another text for people.
  void add(const testing::CheckReport& report, const std::string& file, const std::string& text);
  void add(const testing::RecordReport& report);
  void add(const testing::SweepReport& report);
  void add(const GradcheckFailure& failure);

  /// Writes the files. Throws ExitWith: 6 crashed or timed out, 1 wrong, 5 cannot tell; the most serious one.
  void finish() const;

 private:
  void note(testing::Verdict verdict) { verdict_ = testing::worse(verdict_, verdict); }

  GradcheckOutput output_;
  testing::Verdict verdict_ = testing::Verdict::agree;
  bool gone_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  nlohmann::ordered_json ops_ = nlohmann::ordered_json::array(), checks_ = ops_, failures_ = ops_;
  std::vector<testing::JunitCase> cases_;
};

}  // namespace gradus::tools
