// The caching CPU allocator: freed blocks are kept and handed out again, so a training step after the first asks the
// system for nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gradus {

struct AllocatorStatistics {
  std::int64_t bytes_in_use = 0;       ///< handed out now
  std::int64_t peak_bytes_in_use = 0;  ///< the most ever handed out at once
  std::int64_t bytes_reserved = 0;     ///< held from the system: in use + cached
  std::int64_t allocations = 0;        ///< requests so far
  std::int64_t system_allocations = 0; ///< requests that the cache could not serve
};

namespace allocator {

/// A block of at least `bytes` bytes, aligned to 64. Throws ContractError naming the size where memory runs out.
void* allocate(std::int64_t bytes);
void release(void* block) noexcept;

AllocatorStatistics statistics();
/// Gives cached blocks back to the system.
void empty_cache();

/// While one lives, every new block is filled with NaN (all bits one) and fenced on both sides; `damaged_blocks`
/// counts the fences that were written over. Used by the tests to catch unwritten outputs and writes out of bounds.
class GuardScope {
 public:
  GuardScope();
  ~GuardScope();
  GuardScope(const GuardScope&) = delete;
  GuardScope& operator=(const GuardScope&) = delete;
  /// Checks all live guarded blocks, and those released since the scope began.
  std::int64_t damaged_blocks() const;
};

}  // namespace allocator
}  // namespace gradus
