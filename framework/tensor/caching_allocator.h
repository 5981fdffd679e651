// Blocks of memory that are kept when they are let go, and handed out again: a training step after the first asks the
// system, or the device, for nothing.
//
// Nothing waits for the kernels that use a block when it goes back. It is handed out again at once, perhaps while they
// are still queued. So all kernels and copies of a device must run in the order in which they are queued, on one
// stream: then the next owner's run after the last one's. Only memory that leaves the allocator (MemorySource::release)
// has to be idle, which is the source's business.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>

#include "framework/tensor/device_memory.h"
#include "framework/tensor/memory_report.h"

namespace gradus {

struct AllocatorStatistics {
  std::int64_t bytes_in_use = 0;        ///< handed out now
  std::int64_t peak_bytes_in_use = 0;   ///< the most ever handed out at once
  std::int64_t bytes_reserved = 0;      ///< held from the system: in use + cached
  std::int64_t allocations = 0;         ///< requests so far
  std::int64_t system_allocations = 0;  ///< requests that the cache could not serve
};

/// Where blocks come from.
struct MemorySource {
  std::string name;            ///< of the device, in messages: `cuda:0`
  std::int64_t alignment = 1;  ///< a power of two
  bool caching = true;         ///< else each block is of just the size asked for and goes back at once
  std::function<void*(std::int64_t capacity)> allocate;  ///< null where there is no room
  std::function<void(void* block)> release;              ///< what is queued may still use the block
  std::function<MemoryRoom()> room;
};

class CachingAllocator {
 public:
  explicit CachingAllocator(MemorySource source) : source_(std::move(source)) {}
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  /// At least `bytes` bytes, not initialised. Where there is no room the cache is emptied; where that does not help,
  /// throws MemoryError with a report of what is in use.
  void* allocate(std::int64_t bytes);
  void release(void* block) noexcept;

  AllocatorStatistics statistics() const;
  /// Gives cached blocks back to the source.
  void empty_cache();
  /// Of what is held from the source, in bytes.
  void set_limit(std::int64_t bytes);
  /// What is in use, by who asked for it.
  std::string report() const;

  /// A set of blocks for work that is run again at the same addresses. What is allocated between fill_pool() and
  /// close_pool() belongs to the pool: when it is released, only the pool hands it out again.
  struct Pool {
    std::multimap<std::int64_t, void*> released = {};  ///< by capacity
  };
  void fill_pool(Pool& pool);
  void close_pool();
  /// The pool's blocks, and those of it that are in use yet, are as any others from now on.
  void give_up_pool(Pool& pool) noexcept;

 private:
  struct Block {
    std::int64_t capacity;
    const std::string* op;
    SourceLocation where;
    bool backward;
    Pool* pool;
  };

  void* take_cached(std::int64_t& capacity);
  void keep(std::int64_t capacity, void* block);
  void* take_from_source(std::int64_t capacity);
  std::int64_t release_cached();
  const std::string* kept_name(std::string_view op);
  std::vector<MemoryUse> uses() const;
  [[noreturn]] void fail_full(std::int64_t bytes, std::int64_t given_back) const;

  const MemorySource source_;
  mutable std::mutex mutex_;
  std::unordered_map<void*, Block> in_use_;
  std::multimap<std::int64_t, void*> cached_;  ///< by capacity
  std::set<std::string, std::less<>> names_;   ///< of ops: a block may outlive the op's record
  Pool* filled_ = nullptr;                     ///< whose blocks are allocated now
  AllocatorStatistics statistics_;
  std::int64_t limit_ = std::numeric_limits<std::int64_t>::max();
};

}  // namespace gradus
