// Sizes that users choose, multiplied.
#pragma once

#include <cstdint>

#include "framework/base/error.h"

namespace gradus {

/// A double, which rates and shares are computed in, has every number up to it.
inline constexpr std::int64_t largest_count = std::int64_t{1} << 53;

/// a * b, for what `what` names in the plural. Throws UsageError where that is more than largest_count.
inline std::int64_t count_of(const char* what, std::int64_t a, std::int64_t b) {
  std::int64_t product;
  if (__builtin_mul_overflow(a, b, &product) || product > largest_count) fail<UsageError>("too many {}: {} times {}", what, a, b);
  return product;
}

}  // namespace gradus
