// Check reports for programs: JSON for scripts, JUnit for continuous integration, one line for editors.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/testing/op_checks.h"

namespace gradus::testing {

/// {"schema": "gradus.gradcheck", "version": 1, ...}: what every JSON report of the checker begins with. The version
/// counts changes that break readers.
nlohmann::ordered_json json_report(Verdict verdict, double seconds);

/// Verdict, call, inputs, contracts, cause and rerun line. Numbers that are not finite are null.
nlohmann::ordered_json to_json(const CheckReport& report);
/// The suites with their failures, and the gradient checks in detail.
nlohmann::ordered_json to_json(const RecordReport& report);

/// One test case of a JUnit file.
struct JunitCase {
  std::string class_name, name;
  double seconds = 0;
  std::string failure = {};  ///< empty: passed
  std::string skipped = {};  ///< why nothing could be told
};
JunitCase to_junit(const CheckReport& report);
std::vector<JunitCase> to_junit(const RecordReport& report);
/// <testsuite name="gradus.gradcheck"> with all cases.
std::string junit_text(const std::vector<JunitCase>& cases);

/// `file:op:input[index]: message` for editors, or nothing where the report agrees.
std::string editor_line(const std::string& file, const CheckReport& report);

}  // namespace gradus::testing
