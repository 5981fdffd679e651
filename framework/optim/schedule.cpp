#include "framework/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "framework/base/bars.h"

namespace gradus::optim {

double TokenSchedule::multiplier(std::int64_t tokens) const {
  if (tokens < warmup_tokens) return double(tokens) / double(std::max<std::int64_t>(1, warmup_tokens));
  double progress = double(tokens - warmup_tokens) / double(std::max<std::int64_t>(1, final_tokens - warmup_tokens));
  if (hold_at_end) progress = std::min(progress, 1.0);
  return std::max(floor, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
}

std::optional<std::int64_t> TokenSchedule::climbs_again(std::int64_t tokens) const {
  if (hold_at_end) return {};
  const double progress = 2 - std::acos(2 * floor - 1) / std::numbers::pi;  // where the cosine leaves the floor
  const auto from = warmup_tokens + static_cast<std::int64_t>(progress * double(final_tokens - warmup_tokens));
  return tokens > from ? std::optional(from) : std::nullopt;
}

std::string TokenSchedule::drawing(std::int64_t tokens, int parts) const {
  std::vector<int> levels;
  for (int part = 0; part < parts; ++part) {
    const double height = multiplier(tokens * (2 * part + 1) / (2 * parts));
    levels.push_back(static_cast<int>(std::clamp<long>(std::lround(height * 8), 1, 8)));
  }
  return bars(levels);
}

}  // namespace gradus::optim
