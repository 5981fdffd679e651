// The generated suites: everything that can be asked of any op record, asked of one.
#pragma once

#include <string>
#include <vector>

#include "framework/testing/gradcheck.h"

namespace gradus::testing {

struct CheckResult {
  std::string suite;                  ///< `gradcheck`, `forward f32`, ...
  std::vector<std::string> failures;  ///< each names sample, input and what was found
  int cases = 0;
};

struct RecordReport {
  std::string op;
  std::vector<CheckResult> suites = {};
  std::vector<CheckReport> gradients = {};  ///< of the samples, first and second order: what the gradcheck suites judge
  double seconds = 0;
  /// True where no suite has a failure; "cannot tell" is none.
  bool passed() const;
  /// disagree where a suite has a failure, else the worst of the gradients.
  Verdict verdict() const;
  /// All failures, a line each.
  std::string text() const;
};

/// Runs every suite that applies to the record.
RecordReport check_record(const OpSpec& spec, const CheckOptions& options = {});

}  // namespace gradus::testing
