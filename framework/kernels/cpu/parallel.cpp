#include "framework/kernels/cpu/parallel.h"

#include <omp.h>

#include <exception>
#include <thread>
#include <vector>

#include "framework/base/error.h"

namespace gradus::cpu {
namespace {
int threads = std::max(1, omp_get_num_procs());
std::int64_t worth = 200000;
}

int thread_count() { return threads; }

void set_thread_count(int count) {
  if (count < 1) fail<UsageError>("the number of threads must be at least 1, not {}", count);
  threads = count;
}

int limit_threads_to_what_starts() {
  std::vector<std::thread> started;
  std::mutex gate;
  try {
    const std::lock_guard closed(gate);
    started.reserve(static_cast<std::size_t>(threads));
    while (static_cast<int>(started.size()) + 1 < threads) {
      started.emplace_back([&gate] { const std::lock_guard wait(gate); });
    }
  } catch (const std::exception&) {
    threads = static_cast<int>(started.size()) + 1;
  }
  for (std::thread& thread : started) thread.join();
  return threads;
}

std::int64_t worth_sharing() { return worth; }

SharingScope::SharingScope(int count) : threads_before_(threads), worth_before_(worth) {
  set_thread_count(count);
  worth = 1;
}

SharingScope::~SharingScope() {
  threads = threads_before_;
  worth = worth_before_;
}

void FirstException::keep(std::int64_t chunk) noexcept {
  const std::lock_guard lock(guard_);
  if (!permits(chunk)) return;
  first_ = chunk;
  exception_ = std::current_exception();
}

}  // namespace gradus::cpu
