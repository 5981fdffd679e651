// Drawing the next character.
#pragma once

#include <cstdint>
#include <vector>

#include "framework/random/generator.h"

namespace gradus::tasks {

/// Which characters may be drawn, and how boldly.
struct SamplingRules {
  double temperature = 1;  ///< divides the logits; 0 takes the likeliest character each time
  std::int64_t top_k = 0;  ///< among so many of the likeliest; 0 for all
  double top_p = 1;        ///< of these, the fewest likeliest that together have this share of the probability
};

/// Draws an id from softmax(logits / temperature) over the ids that the rules leave. Of equal logits the lower id
/// counts as likelier.
std::int64_t draw(const std::vector<double>& logits, const SamplingRules& rules, StreamReader& random);

}  // namespace gradus::tasks
