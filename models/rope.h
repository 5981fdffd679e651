// The variant `rope` (assignment.md, section 4.3): no position table; queries and keys are turned by their positions,
// as in perceiver-ar. Su et al. 2021, arXiv:2104.09864.
#pragma once

#include "models/gpt/blocks.h"

namespace gradus::models {

/// Angles of the positions of a model: t theta_i with theta_i = 10000^(-2i / D), i = 0 .. D/2 - 1, for heads of D
/// features.
class RotaryTable {
 public:
  RotaryTable(std::int64_t positions, std::int64_t head_features, DType dtype);
  /// Of positions begin, begin + step, ... before `end`; nothing where there is none.
  Angles range(std::int64_t begin, std::int64_t end, Device device, std::int64_t step = 1) const;
  /// Of the positions of sequences that follow each other.
  Angles of(const Lengths& lengths, Device device) const;

 private:
  mutable Tensor cosines_, sines_;  ///< (positions, D/2)
};

}  // namespace gradus::models
