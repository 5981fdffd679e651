#include "framework/tensor/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>

#include "framework/base/error.h"

namespace gradus::allocator {
namespace {

constexpr std::int64_t alignment = 64;
constexpr std::int64_t fence = 256;  // bytes on either side of a guarded block
constexpr unsigned char fence_pattern = 0xC7;
constexpr std::int64_t huge_page = std::int64_t{1} << 21;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool caching = false;  // so that the sanitizer sees every use after free
#else
constexpr bool caching = true;
#endif

struct Block {
  std::int64_t requested, capacity;
  bool guarded;
};

struct State {
  std::mutex mutex;
  std::unordered_map<void*, Block> in_use;          // keyed by the pointer handed out
  std::multimap<std::int64_t, void*> cached;        // capacity -> system pointer
  AllocatorStatistics statistics;
  int guard_scopes = 0;
  std::int64_t damaged_released = 0;
};

State& state() {
  static State* instance = new State;  // never destroyed: tensors in static storage may outlive it
  return *instance;
}

std::int64_t round_up(std::int64_t value, std::int64_t step) { return (value + step - 1) / step * step; }

std::int64_t capacity_for(std::int64_t bytes) {
  bytes = std::max<std::int64_t>(bytes, alignment);
  if (bytes < 4096) return round_up(bytes, alignment);
  // At most one eighth of a block is waste, and few distinct sizes exist.
  const std::int64_t power = std::int64_t{1} << (63 - __builtin_clzll(static_cast<std::uint64_t>(bytes)));
  return round_up(bytes, power / 8);
}

void* system_allocate(std::int64_t capacity) {
  void* pointer = std::aligned_alloc(capacity >= huge_page ? 4096 : alignment, round_up(capacity, 4096));
  if (pointer && capacity >= huge_page) madvise(pointer, capacity, MADV_HUGEPAGE);
  return pointer;
}

bool fences_intact(const void* block, const Block& info) {
  const auto* bytes = static_cast<const unsigned char*>(block);
  const auto intact = [](const unsigned char* begin) {
    return std::all_of(begin, begin + fence, [](unsigned char byte) { return byte == fence_pattern; });
  };
  return intact(bytes - fence) && intact(bytes + info.requested);
}

}  // namespace

void* allocate(std::int64_t bytes) {
  if (bytes < 0) fail("allocation of {} bytes", bytes);
  State& s = state();
  std::lock_guard lock(s.mutex);
  const bool guarded = s.guard_scopes > 0;
  std::int64_t capacity = capacity_for(guarded ? bytes + 2 * fence : bytes);
  ++s.statistics.allocations;
  void* pointer = nullptr;
  // A larger cached block serves too, within limits: batches of varying length must not fill the cache with odd sizes.
  if (auto found = s.cached.lower_bound(capacity); found != s.cached.end() && found->first <= capacity + capacity / 2) {
    capacity = found->first;
    pointer = found->second;
    s.cached.erase(found);
  } else {
    pointer = system_allocate(capacity);
    if (!pointer) {
      for (auto& [size, block] : s.cached) std::free(block), s.statistics.bytes_reserved -= size;
      s.cached.clear();
      pointer = system_allocate(capacity);
    }
    if (!pointer) fail("out of memory: {} bytes asked for, {} in use", bytes, s.statistics.bytes_in_use);
    ++s.statistics.system_allocations;
    s.statistics.bytes_reserved += capacity;
  }
  if (guarded) {
    auto* raw = static_cast<unsigned char*>(pointer);
    std::memset(raw, fence_pattern, fence);
    std::memset(raw + fence, 0xFF, bytes);
    std::memset(raw + fence + bytes, fence_pattern, fence);
    pointer = raw + fence;
  }
  s.in_use.emplace(pointer, Block{bytes, capacity, guarded});
  s.statistics.bytes_in_use += capacity;
  s.statistics.peak_bytes_in_use = std::max(s.statistics.peak_bytes_in_use, s.statistics.bytes_in_use);
  return pointer;
}

void release(void* block) noexcept {
  State& s = state();
  std::lock_guard lock(s.mutex);
  const auto found = s.in_use.find(block);
  const Block info = found->second;
  s.in_use.erase(found);
  if (info.guarded && !fences_intact(block, info)) ++s.damaged_released;
  void* pointer = info.guarded ? static_cast<unsigned char*>(block) - fence : block;
  s.statistics.bytes_in_use -= info.capacity;
  if (caching) {
    s.cached.emplace(info.capacity, pointer);
  } else {
    std::free(pointer);
    s.statistics.bytes_reserved -= info.capacity;
  }
}

AllocatorStatistics statistics() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  return s.statistics;
}

void empty_cache() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  for (auto& [capacity, pointer] : s.cached) {
    std::free(pointer);
    s.statistics.bytes_reserved -= capacity;
  }
  s.cached.clear();
}

GuardScope::GuardScope() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  if (s.guard_scopes++ == 0) s.damaged_released = 0;
}

GuardScope::~GuardScope() {
  State& s = state();
  std::lock_guard lock(s.mutex);
  --s.guard_scopes;
}

std::int64_t GuardScope::damaged_blocks() const {
  State& s = state();
  std::lock_guard lock(s.mutex);
  return s.damaged_released + std::count_if(s.in_use.begin(), s.in_use.end(), [](const auto& entry) {
           return entry.second.guarded && !fences_intact(entry.first, entry.second);
         });
}

}  // namespace gradus::allocator
