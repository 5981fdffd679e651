#include "framework/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gradus::optim {

double TokenSchedule::multiplier(std::int64_t tokens) const {
  if (tokens < warmup_tokens) return double(tokens) / double(std::max<std::int64_t>(1, warmup_tokens));
  double progress = double(tokens - warmup_tokens) / double(std::max<std::int64_t>(1, final_tokens - warmup_tokens));
  if (hold_at_end) progress = std::min(progress, 1.0);
  return std::max(floor, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
}

bool TokenSchedule::climbs_again(std::int64_t tokens) const {
  // The cosine turns at final_tokens and leaves the floor where 0.5 (1 + cos) exceeds it once more.
  if (hold_at_end || tokens <= final_tokens) return false;
  return multiplier(tokens) > floor || tokens - final_tokens > final_tokens - warmup_tokens;
}

}  // namespace gradus::optim
