#include "framework/tensor/caching_allocator.h"

#include <algorithm>
#include <bit>

#include "framework/base/error.h"
#include "framework/tensor/memory_origin.h"

namespace gradus {
namespace {

constexpr std::int64_t largest_block = std::int64_t{1} << 62;

std::int64_t round_up(std::int64_t value, std::int64_t step) { return (value + step - 1) / step * step; }

std::int64_t capacity_for(std::int64_t bytes, const MemorySource& source) {
  if (!source.caching || bytes > largest_block) return std::max<std::int64_t>(bytes, 1);
  bytes = std::max(bytes, source.alignment);
  if (bytes < 4096) return round_up(bytes, source.alignment);
  // At most one eighth of a block is waste, and few distinct sizes exist.
  return round_up(bytes, static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(bytes)) / 8));
}

}  // namespace

void* CachingAllocator::allocate(std::int64_t bytes) {
  if (bytes < 0) fail("allocation of {} bytes", bytes);
  const std::lock_guard lock(mutex_);
  ++statistics_.allocations;
  std::int64_t capacity = capacity_for(bytes, source_);
  void* block = take_cached(capacity);
  if (!block) block = take_from_source(capacity);
  if (!block) {
    const std::int64_t cached = filled_ ? 0 : release_cached();  // which waits for what a pool's work may not wait for
    if (cached > 0) block = take_from_source(capacity);
    if (!block) fail_full(bytes, cached);
  }
  const MemoryOrigin& origin = memory_origin();
  in_use_.emplace(block, Block{capacity, kept_name(origin.op), origin.where, origin.backward, filled_});
  statistics_.bytes_in_use += capacity;
  statistics_.peak_bytes_in_use = std::max(statistics_.peak_bytes_in_use, statistics_.bytes_in_use);
  return block;
}

namespace {

/// A larger block serves too, within limits: batches of varying length must not fill the cache with odd sizes.
void* take_from(std::multimap<std::int64_t, void*>& blocks, std::int64_t& capacity) {
  const auto found = blocks.lower_bound(capacity);
  if (found == blocks.end() || found->first > capacity + capacity / 2) return nullptr;
  capacity = found->first;
  void* block = found->second;
  blocks.erase(found);
  return block;
}

}  // namespace

void* CachingAllocator::take_cached(std::int64_t& capacity) {
  if (!source_.caching) return nullptr;
  void* block = filled_ ? take_from(filled_->released, capacity) : nullptr;
  return block ? block : take_from(cached_, capacity);
}

void* CachingAllocator::take_from_source(std::int64_t capacity) {
  if (capacity > limit_ - statistics_.bytes_reserved) return nullptr;
  void* block = source_.allocate(capacity);
  if (!block) return nullptr;
  ++statistics_.system_allocations;
  statistics_.bytes_reserved += capacity;
  return block;
}

void CachingAllocator::release(void* block) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = in_use_.find(block);
  const auto capacity = found->second.capacity;
  Pool* const pool = found->second.pool;
  in_use_.erase(found);
  statistics_.bytes_in_use -= capacity;
  Pool* const keeper = pool || source_.caching ? pool : filled_;  // a source would wait, which pools must not
  if (keeper) keeper->released.emplace(capacity, block);
  else keep(capacity, block);
}

/// In the cache, or else it goes back.
void CachingAllocator::keep(std::int64_t capacity, void* block) {
  if (source_.caching) {
    try {
      cached_.emplace(capacity, block);
      return;
    } catch (const std::bad_alloc&) {  // there is no room to remember it
    }
  }
  statistics_.bytes_reserved -= capacity;
  source_.release(block);
}

AllocatorStatistics CachingAllocator::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void CachingAllocator::empty_cache() {
  const std::lock_guard lock(mutex_);
  if (filled_) fail("memory is given back while work is recorded, which must not wait");
  release_cached();
}

void CachingAllocator::fill_pool(Pool& pool) {
  const std::lock_guard lock(mutex_);
  if (filled_) fail("a pool of memory is filled while another one is");
  filled_ = &pool;
}

void CachingAllocator::close_pool() {
  const std::lock_guard lock(mutex_);
  filled_ = nullptr;
}

void CachingAllocator::give_up_pool(Pool& pool) noexcept {
  const std::lock_guard lock(mutex_);
  for (auto& [pointer, block] : in_use_) {
    if (block.pool == &pool) block.pool = nullptr;
  }
  for (const auto& [capacity, block] : pool.released) keep(capacity, block);
  pool.released.clear();
}

/// Gives the bytes that went back.
std::int64_t CachingAllocator::release_cached() {
  std::int64_t bytes = 0;
  for (const auto& [capacity, block] : cached_) {
    source_.release(block);
    statistics_.bytes_reserved -= capacity;
    bytes += capacity;
  }
  cached_.clear();
  return bytes;
}

void CachingAllocator::set_limit(std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  limit_ = bytes;
}

const std::string* CachingAllocator::kept_name(std::string_view op) {
  const auto found = names_.find(op);
  return found == names_.end() ? &*names_.emplace(op).first : &*found;
}

std::vector<MemoryUse> CachingAllocator::uses() const {
  std::vector<MemoryUse> uses;
  for (const auto& [pointer, block] : in_use_) {
    uses.push_back({{*block.op, block.where, block.backward}, block.capacity});
  }
  return uses;
}

std::string CachingAllocator::report() const {
  const std::lock_guard lock(mutex_);
  return memory_table(uses());
}

void CachingAllocator::fail_full(std::int64_t bytes, std::int64_t given_back) const {
  std::string state = readable_bytes(statistics_.bytes_in_use) + " in use";
  if (given_back > 0) state += fmt::format(", {} cached, which were given back", readable_bytes(given_back));
  std::int64_t cached = 0;
  for (const auto& [capacity, block] : cached_) cached += capacity;
  if (cached > 0) state += fmt::format(", {} cached", readable_bytes(cached));
  const std::int64_t pooled = statistics_.bytes_reserved - statistics_.bytes_in_use - cached;
  if (pooled > 0) state += fmt::format(", {} kept for recorded work", readable_bytes(pooled));
  if (limit_ < std::numeric_limits<std::int64_t>::max())
    state += fmt::format(", the limit is {}", readable_bytes(limit_));
  if (const MemoryRoom room = source_.room(); room.total > 0) {
    state += fmt::format(", {} free of {} on the device", readable_bytes(room.free), readable_bytes(room.total));
  }
  fail<MemoryError>("out of memory on {}: {} asked for by {}; {}\n{}{}", source_.name, readable_bytes(bytes),
                    to_string(memory_origin()), state, memory_table(uses()), memory_advice());
}

}  // namespace gradus
