// One op on many random inputs: what shows that the checker raises no false alarm.
#pragma once

#include <string>
#include <vector>

#include "framework/testing/gradcheck.h"

namespace gradus::testing {

struct SweepReport {
  std::string op;
  int draws = 0;       ///< inputs that were drawn
  int sizes_kept = 0;  ///< of these, with the sample's own sizes, as the op does not take the varied ones
  int agree = 0, disagree = 0, cannot_tell = 0;  ///< checks: of first and of second order
  std::vector<CheckReport> doubtful = {};        ///< all that did not agree
  std::vector<std::string> not_varied = {};      ///< and why: "one axis more (not taken)"
};

/// First and second order on `draws` inputs: the op's samples in turn, each with the values of another seed (the
/// options' and those that follow) and with sizes of its own. The record needs `samples`.
SweepReport sweep(const OpSpec& spec, int draws, const CheckOptions& options = {});

}  // namespace gradus::testing
