#include "framework/tensor/memory.h"

#include <sys/mman.h>

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "framework/base/error.h"
#include "framework/tensor/guard_zones.h"

namespace gradus {
namespace {

constexpr std::int64_t mebibyte = 1 << 20;
constexpr std::int64_t huge_page = 2 * mebibyte;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool address_sanitizer = true;
#else
constexpr bool address_sanitizer = false;
#endif

void* allocate_on_host(std::int64_t capacity) {
  void* block = nullptr;
  if (posix_memalign(&block, capacity >= huge_page ? 4096 : 64, static_cast<std::size_t>(capacity))) return nullptr;
  if (capacity >= huge_page) madvise(block, static_cast<std::size_t>(capacity), MADV_HUGEPAGE);
  return block;
}

MemoryRoom room_on_host() {
  MemoryRoom room;
  std::ifstream file("/proc/meminfo");
  std::int64_t kibibytes = 0;
  for (std::string name, unit; file >> name >> kibibytes && std::getline(file, unit);) {
    if (name == "MemTotal:") room.total = kibibytes * 1024;
    if (name == "MemAvailable:") room.free = kibibytes * 1024;
  }
  return room;
}

MemorySource host_memory() {
  return {.name = "cpu",
          .alignment = 64,
          .caching = !address_sanitizer,  // which sees every use after free, and the end of each block
          .allocate = allocate_on_host,
          .release = std::free,
          .room = room_on_host};
}

MemorySource source_of(Device device) {
  const DeviceMemory& memory = device_memory(device);
  const int index = device.index;
  return {.name = to_string(device),
          .alignment = 256,
          .caching = memory.caching,
          .allocate = [=, allocate = memory.allocate](std::int64_t capacity) { return allocate(capacity, index); },
          .release = [=, release = memory.release](void* block) { release(block, index); },
          .room = [=, room = memory.room] { return room(index); }};
}

std::int64_t limit_of_environment() {
  const char* text = std::getenv("GRADUS_MEMORY_LIMIT");
  if (!text || !*text) return std::numeric_limits<std::int64_t>::max();
  const std::string_view digits = text;
  std::int64_t mebibytes = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), mebibytes);
  if (error != std::errc{} || end != digits.data() + digits.size() || mebibytes < 1 || mebibytes > (1 << 30))
    fail<UsageError>("GRADUS_MEMORY_LIMIT must be a number of MiB from 1 on, not '{}'", text);
  return mebibytes * mebibyte;
}

/// Never destroyed: tensors in static storage may outlive everything here.
CachingAllocator* new_allocator(MemorySource source) {
  const std::int64_t limit = limit_of_environment();
  auto* allocator = new CachingAllocator(std::move(source));
  allocator->set_limit(limit);
  return allocator;
}

CachingAllocator& allocator_of(Device device) {
  static CachingAllocator* const host = new_allocator(host_memory());
  if (device == Device{}) return *host;
  static std::mutex& mutex = *new std::mutex;
  static auto& others = *new std::map<int, CachingAllocator*>;
  const std::lock_guard lock(mutex);
  CachingAllocator*& allocator = others[device.index];
  if (!allocator) allocator = new_allocator(source_of(device));
  return *allocator;
}

}  // namespace

void* allocate_memory(std::int64_t bytes, Device device) {
  CachingAllocator& allocator = allocator_of(device);
  if (device == Device{} && guard_zones::wanted()) {
    return guard_zones::put_around(allocator.allocate(bytes + guard_zones::bytes_around), bytes);
  }
  return allocator.allocate(bytes);
}

void release_memory(void* block, Device device) noexcept {
  allocator_of(device).release(device == Device{} ? guard_zones::take_away(block) : block);
}

MemoryPool::~MemoryPool() { allocator_of(device_).give_up_pool(blocks_); }

MemoryPool::FillScope::FillScope(MemoryPool& pool) : device_(pool.device_) {
  allocator_of(device_).fill_pool(pool.blocks_);
}
MemoryPool::FillScope::~FillScope() { allocator_of(device_).close_pool(); }

AllocatorStatistics memory_statistics(Device device) { return allocator_of(device).statistics(); }
void empty_cache(Device device) { allocator_of(device).empty_cache(); }
void set_memory_limit(Device device, std::int64_t bytes) { allocator_of(device).set_limit(bytes); }
std::string memory_report(Device device) { return allocator_of(device).report(); }

}  // namespace gradus
