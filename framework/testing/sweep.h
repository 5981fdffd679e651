// One op on many random inputs: what shows that the checker raises no false alarm.
#pragma once

#include <string>
#include <vector>

#include "framework/testing/gradcheck.h"

namespace gradus::testing {

/// One check of a sweep, for reports that name each.
struct Draw {
  int number = 0;  ///< from 1; the second order has the number of the first
  std::uint64_t seed = 0;
  int order = 1;
  std::string call;
  Verdict verdict = Verdict::agree;
  double seconds = 0;
  int doubtful = -1;  ///< index of its report among those that did not agree
};

struct SweepReport {
  std::string op;
  int draws = 0;       ///< inputs that were drawn
  int sizes_kept = 0;  ///< of these, with the sample's own sizes, as the op does not take the varied ones
  int agree = 0, disagree = 0, cannot_tell = 0;  ///< checks: of first and of second order
  std::vector<Draw> each = {};
  std::vector<CheckReport> doubtful = {};        ///< all that did not agree
  std::vector<std::string> not_varied = {};      ///< and why: "one axis more (not taken)"

  /// Counts a check of the draw `draws`.
  void count(CheckReport report);
};

/// First and second order on `draws` inputs: the op's samples in turn, each with the values of another seed (the
/// options' and those that follow) and with sizes of its own. The record needs `samples`.
SweepReport sweep(const OpSpec& spec, int draws, const CheckOptions& options = {});

}  // namespace gradus::testing
