// The memory of tensors, on every device.
#pragma once

#include "framework/tensor/caching_allocator.h"

namespace gradus {

/// A block of at least `bytes` bytes, aligned to 64 (on a CUDA device to 256). Throws MemoryError where there is no
/// room, with a report of what is in use.
void* allocate_memory(std::int64_t bytes, Device device);
void release_memory(void* block, Device device) noexcept;

AllocatorStatistics memory_statistics(Device device = {});

/// Gives cached blocks back to the system.
void empty_cache(Device device = {});

/// No more than this is taken from the system. Without it, the limit is the environment's: GRADUS_MEMORY_LIMIT, a
/// number of MiB for each device.
void set_memory_limit(Device device, std::int64_t bytes);

/// Memory for work of a device that is run again at the same addresses.
class MemoryPool {
 public:
  explicit MemoryPool(Device device) : device_(device) {}
  /// What is left of it is as any other memory from then on.
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  /// What is allocated on the device while it lives stays the pool's, and is not handed out for anything else.
  class FillScope {
   public:
    explicit FillScope(MemoryPool& pool);
    ~FillScope();
    FillScope(const FillScope&) = delete;
    FillScope& operator=(const FillScope&) = delete;

   private:
    const Device device_;
  };

 private:
  const Device device_;
  CachingAllocator::Pool blocks_;
};

/// A table of what is in use: bytes and blocks, by the op and the line of the user's code that asked for them.
std::string memory_report(Device device = {});

}  // namespace gradus
