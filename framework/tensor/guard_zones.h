// Fences around blocks of the CPU's memory, by which the tests catch unwritten outputs and writes out of bounds.
#pragma once

#include <cstdint>

namespace gradus {

/// While one lives, every new block is filled with NaN (all bits one) and fenced on both sides.
class GuardScope {
 public:
  GuardScope();
  ~GuardScope();
  GuardScope(const GuardScope&) = delete;
  GuardScope& operator=(const GuardScope&) = delete;
  /// Fences that were written over: of all live guarded blocks, and of those released since the scope began.
  std::int64_t damaged_blocks() const;
};

namespace guard_zones {

/// What a guarded block has more.
constexpr std::int64_t bytes_around = 512;

bool wanted();
/// The inner `bytes` of the block.
void* put_around(void* block, std::int64_t bytes);
/// The whole block of what put_around gave; anything else as it is.
void* take_away(void* inner) noexcept;

}  // namespace guard_zones
}  // namespace gradus
