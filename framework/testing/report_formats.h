// Check reports for programs: JSON for scripts, JUnit for continuous integration, one line for editors.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/testing/op_checks.h"

namespace gradus::testing {

/// What a run comes to, the most serious last. error: there is something that could not be judged, and nothing worse.
enum class Outcome { agree, cannot_tell, error, disagree, crash };
std::string to_string(Outcome outcome);
Outcome outcome_of(Verdict verdict);

/// {"schema": "gradus.gradcheck", "version": 2, ...}: what every JSON report of the checker begins with. The version
/// counts changes that break readers.
nlohmann::ordered_json json_report(Outcome outcome, int exit_code, double seconds);

/// Verdict, call, inputs, contracts, cause and rerun line. Numbers that are not finite are null.
nlohmann::ordered_json to_json(const CheckReport& report);
/// The suites with their failures, and the gradient checks in detail.
nlohmann::ordered_json to_json(const RecordReport& report);

/// One test case of a JUnit file. cannot_tell is `skipped` there, disagree a `failure`, error and crash an `error`.
struct JunitCase {
  std::string class_name, name;
  double seconds = 0;
  Outcome outcome = Outcome::agree;
  std::string message = {};  ///< one line
  std::string body = {};     ///< the report
};
JunitCase to_junit(const CheckReport& report);
std::vector<JunitCase> to_junit(const RecordReport& report);
/// <testsuite name="gradus.gradcheck"> with all cases.
std::string junit_text(const std::vector<JunitCase>& cases);

/// `x[0,1]: it is exactly twice the expected one (yours 2, expected 1)`, or nothing where the report agrees.
std::string finding_of(const CheckReport& report);
/// `file:op:` and the finding, for editors; nothing where the report agrees.
std::string editor_line(const std::string& file, const CheckReport& report);

}  // namespace gradus::testing
