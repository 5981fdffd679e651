// What the records of ops that only move elements have in common.
#pragma once

#include <limits>
#include <utility>
#include <vector>

#include "framework/ops/op_spec.h"

namespace gradus {

inline double no_rounding(const OpCall&) { return 0; }

/// Six elements that must arrive bit by bit.
inline std::vector<Sample> special_values_sample(SampleMaker& make, Attributes attributes) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  return {{"special values", {make.values({6}, {0, -0.0, inf, -inf, nan, 1e-300})}, std::move(attributes)}};
}

}  // namespace gradus
