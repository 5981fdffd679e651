// What the ops with dropout have in common: the attributes of a draw.
#pragma once

#include "framework/kernels/cpu/random_words.h"
#include "framework/ops/op_spec.h"

namespace gradus {

inline std::vector<AttributeSpec> draw_attributes(double probability) {
  return {{"probability", probability, "share of elements dropped, in [0, 1)"},
          {"seed", std::int64_t{0}, "key of the random words"},
          {"stream", std::int64_t{0}, "which sequence of words"}};
}

inline Attributes drawn(double probability, std::int64_t seed, std::int64_t stream) {
  return {{"probability", probability}, {"seed", seed}, {"stream", stream}};
}

/// Those of another op that draws alike.
template <class Call>
Attributes draw_of(const Call& call) {
  return drawn(call.number("probability"), call.integer("seed"), call.integer("stream"));
}

inline void require_probability(const OpCall& call) {
  const double probability = call.number("probability");
  if (!(probability >= 0 && probability < 1)) call.fail("probability must be in [0, 1)");
}

inline cpu::DropoutMask dropout_mask(const Attributes& attributes) {
  return {attributes.number("probability"), static_cast<std::uint64_t>(attributes.integer("seed")),
          static_cast<std::uint64_t>(attributes.integer("stream"))};
}

}  // namespace gradus
