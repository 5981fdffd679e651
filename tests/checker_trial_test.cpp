// The checker on 400 ops that were written without knowledge of it (checker_trial/): right ones, which are hard, and wrong ones.
#include <doctest/doctest.h>

#include <map>
#include <sstream>

#include "framework/io/files.h"
#include "framework/testing/foreign_op.h"

using namespace gradus;
using namespace gradus::testing;

namespace {

struct Truth {
  std::string kind, truth, what, shows;
};

std::map<std::string, Truth> read_truth() {
  std::istringstream lines(io::read_file(GRADUS_SOURCE_DIR "/tests/checker_trial/truth.tsv"));
  std::map<std::string, Truth> all;
  std::string line, op, cause;
  std::getline(lines, line);  // names of the columns
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    Truth truth;
    std::getline(fields, op, '\t');
    for (std::string* field : {&truth.kind, &truth.truth, &truth.what, &cause, &truth.shows}) std::getline(fields, *field, '\t');
    all.emplace(op, truth);
  }
  return all;
}

}  // namespace

TEST_CASE("no right gradient of the trial is called wrong, and no wrong one that shows is accepted") {
  const std::map<std::string, Truth> all = read_truth();
  REQUIRE(all.size() == 400);
  const ForeignLibrary library(GRADUS_FOREIGN_OPS "/checker_trial.so");
  REQUIRE(library.names().size() == 400);
  int right = 0, undecided = 0, wrong = 0, accepted = 0;
  for (const auto& [name, truth] : all) {
    CAPTURE(name);
    CAPTURE(truth.what);
    const ForeignOp op = library.op(name);
    CheckOptions options;
    options.seed = 11;
    options.hints = false;
    CheckReport report;
    try {
      report = check(op, op.draw_inputs(options.seed), options);
    } catch (const ForeignFailure& failure) {
      CHECK_MESSAGE(failure.kind == ForeignFailureKind::nothing_to_check, failure.what());
      continue;
    }
    if (truth.truth == "right") {
      ++right;
      CHECK_MESSAGE(report.verdict != Verdict::disagree, to_text(report));
      undecided += report.verdict == Verdict::cannot_tell;
    } else if (truth.shows == "default") {
      ++wrong;
      accepted += report.verdict == Verdict::agree;
    }
  }
  CHECK(right > 190);
  CHECK(wrong == 162);
  CHECK_MESSAGE(20 * undecided < right, undecided, " of ", right, " right ones cannot be told");
  CHECK_MESSAGE(accepted == 0, accepted, " of ", wrong, " wrong ones are accepted");
}
