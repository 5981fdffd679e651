#include "framework/kernels/cuda/emulation/shared_memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "framework/kernels/cuda/emulation/sanitizers.h"

// The section of the static __shared__ arrays (language.h); null where there are none.
extern "C" char __start_gradus_shared[] __attribute__((weak)), __stop_gradus_shared[] __attribute__((weak));

namespace gradus::cuda::emulation {
namespace {

/// Memory of a block, as AddressSanitizer sees it: one allocation of the exact size.
class BlockMemory {
 public:
  BlockMemory(const void* key, std::size_t bytes) : key_(key) {
    if (posix_memalign(&memory_, 16, bytes)) throw std::bad_alloc();
    std::memset(memory_, 0xff, bytes);
  }
  ~BlockMemory() { std::free(memory_); }
  BlockMemory(BlockMemory&& other) noexcept : key_(other.key_), memory_(std::exchange(other.memory_, nullptr)) {}
  BlockMemory& operator=(BlockMemory&&) = delete;

  const void* key() const { return key_; }
  void* memory() const { return memory_; }

 private:
  const void* key_;
  void* memory_ = nullptr;
};

std::vector<BlockMemory> of_this_block;  // the first is the dynamic one, without a key

/// To ThreadSanitizer, memory in which a block's accesses are none of the next one's business. Its interface for
/// runtimes with their own heap is the one that can say so.
void forget_accesses(char* begin, char* end) {
  if (!sanitizers::thread_sanitizer()) return;
  constexpr std::uintptr_t cell = 8;
  const auto first = reinterpret_cast<std::uintptr_t>(begin) / cell * cell;
  const auto bytes = (reinterpret_cast<std::uintptr_t>(end) - first + cell - 1) / cell * cell;
  static const bool initialised = (__tsan_java_init(first, bytes), true);
  (void)initialised;
  __tsan_java_alloc(first, bytes);
}

}  // namespace

void begin_block_memory(std::size_t dynamic_bytes) {
  const sanitizers::UnseenScope unseen;
  of_this_block.clear();
  of_this_block.emplace_back(nullptr, dynamic_bytes);
  if (&__start_gradus_shared[0] == &__stop_gradus_shared[0]) return;
  std::memset(__start_gradus_shared, 0xff, static_cast<std::size_t>(__stop_gradus_shared - __start_gradus_shared));
  forget_accesses(__start_gradus_shared, __stop_gradus_shared);
}

void end_block_memory() {
  const sanitizers::UnseenScope unseen;
  of_this_block.clear();
}

void* dynamic_shared_memory() { return of_this_block.front().memory(); }

void* shared_memory_of(const void* key, std::size_t bytes) {
  for (const BlockMemory& memory : of_this_block) {
    if (memory.key() == key) return memory.memory();
  }
  const sanitizers::UnseenScope unseen;
  return of_this_block.emplace_back(key, bytes).memory();
}

}  // namespace gradus::cuda::emulation
