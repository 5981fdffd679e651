#include "framework/tensor/guard_zones.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <unordered_map>

namespace gradus {
namespace {

constexpr std::int64_t fence = guard_zones::bytes_around / 2;
constexpr unsigned char fence_pattern = 0xC7;

struct State {
  std::mutex mutex;
  std::unordered_map<void*, std::int64_t> guarded;  // bytes, by the pointer handed out
  std::atomic<std::int64_t> guarded_count = 0;
  std::atomic<int> scopes = 0;
  std::int64_t damaged_released = 0;
};

State& state() {
  static State* instance = new State;  // never destroyed: tensors in static storage may outlive it
  return *instance;
}

bool fences_intact(const void* inner, std::int64_t size) {
  const auto* bytes = static_cast<const unsigned char*>(inner);
  const auto intact = [](const unsigned char* begin) {
    return std::all_of(begin, begin + fence, [](unsigned char byte) { return byte == fence_pattern; });
  };
  return intact(bytes - fence) && intact(bytes + size);
}

}  // namespace

bool guard_zones::wanted() { return state().scopes > 0; }

void* guard_zones::put_around(void* block, std::int64_t bytes) {
  auto* raw = static_cast<unsigned char*>(block);
  std::memset(raw, fence_pattern, fence);
  std::memset(raw + fence, 0xFF, bytes);
  std::memset(raw + fence + bytes, fence_pattern, fence);
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.guarded.emplace(raw + fence, bytes);
  ++s.guarded_count;
  return raw + fence;
}

void* guard_zones::take_away(void* inner) noexcept {
  State& s = state();
  if (s.guarded_count == 0) return inner;
  const std::lock_guard lock(s.mutex);
  const auto found = s.guarded.find(inner);
  if (found == s.guarded.end()) return inner;
  if (!fences_intact(inner, found->second)) ++s.damaged_released;
  s.guarded.erase(found);
  --s.guarded_count;
  return static_cast<unsigned char*>(inner) - fence;
}

GuardScope::GuardScope() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (s.scopes++ == 0) s.damaged_released = 0;
}

GuardScope::~GuardScope() { --state().scopes; }

std::int64_t GuardScope::damaged_blocks() const {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  return s.damaged_released + std::count_if(s.guarded.begin(), s.guarded.end(), [](const auto& block) {
           return !fences_intact(block.first, block.second);
         });
}

}  // namespace gradus
