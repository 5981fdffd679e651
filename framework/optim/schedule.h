// Learning rate as a function of the tokens seen: linear warm-up, then a cosine down to a floor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace gradus::optim {

struct TokenSchedule {
  double peak = 6e-3;                   ///< learning rate at the top
  std::int64_t warmup_tokens = 10240;   ///< the rate rises linearly over these
  std::int64_t final_tokens = 0;        ///< the cosine's half period ends here
  double floor = 0.1;                   ///< least multiplier of `peak`
  /// The assignment does not stop at final_tokens: the cosine climbs again. True holds it at the floor.
  bool hold_at_end = false;

  /// Multiplier of `peak` after `tokens`: tokens / warmup during warm-up, then max(floor, (1 + cos(pi p)) / 2) with
  /// p = (tokens - warmup) / (final - warmup). (Assignment 5, trainer.)
  double multiplier(std::int64_t tokens) const;
  double rate(std::int64_t tokens) const { return peak * multiplier(tokens); }
  /// The tokens after which the rate, having fallen, rises again, where this is in the first `tokens`.
  std::optional<std::int64_t> climbs_again(std::int64_t tokens) const;
  /// The multiplier over `tokens` from left to right, one bar for each part: `▇█▇▅▃▂▁▁` (see bars).
  std::string drawing(std::int64_t tokens, int parts) const;
};

}  // namespace gradus::optim
