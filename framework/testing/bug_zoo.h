// The bug zoo: many ways to get a gradient wrong, one cage each. Every op is written as a student would write it,
// plain loops in double over row-major values, once right and several times wrong; the wrong versions differ from the
// right one by the bug alone. A gradient checker has to find every bug and should name its cause; it has to leave the
// right ops alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/testing/causes.h"
#include "framework/testing/subject.h"

namespace gradus::testing {

struct Bug {
  std::string name;  ///< `softmax: correction term missing`; unique
  std::string op;    ///< `softmax`
  std::string summary;
  Cause cause;              ///< what a good checker names
  std::vector<Cause> also;  ///< other answers that are not wrong
  Subject subject;          ///< with the bug; state that it keeps between calls is its own
  Tensors inputs;           ///< f64, i64 ids and boolean masks; no kink within 0.05
};

struct CorrectOp {
  std::string op;
  Subject subject;
  Tensors inputs;
};

/// The floating inputs are drawn from the seed; ids, masks and shapes are always the same.
std::vector<Bug> bug_zoo(std::uint64_t seed = 1);
/// The same ops done right, at the same inputs.
std::vector<CorrectOp> zoo_ops(std::uint64_t seed = 1);

}  // namespace gradus::testing
