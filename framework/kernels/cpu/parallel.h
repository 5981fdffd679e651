// The CPU's threads. Work is cut into chunks whose borders depend on the sizes alone, never on the number of threads,
// so results are the same bits for any thread count.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <limits>
#include <mutex>

namespace gradus::cpu {

/// Threads that parallel_for uses; at least 1. Starts at the number of processors this process may run on.
int thread_count();
void set_thread_count(int count);
/// Lowers the number to as many threads as the system lets this process have, and returns it: OpenMP ends the program
/// where one cannot be started.
int limit_threads_to_what_starts();

/// Below this many elementary operations a loop stays on the calling thread: waking the others would take longer.
std::int64_t worth_sharing();

/// While one lives, loops of any size are shared by so many threads: to see that results do not depend on it.
class SharingScope {
 public:
  explicit SharingScope(int threads);
  ~SharingScope();
  SharingScope(const SharingScope&) = delete;
  SharingScope& operator=(const SharingScope&) = delete;

 private:
  int threads_before_;
  std::int64_t worth_before_;
};

/// Carries an exception out of a parallel region, which none may leave by itself: that of the first chunk that throws.
class FirstException {
 public:
  /// False for chunks behind one that has thrown. Those before it are still run, so that the first is the first whatever
  /// the number of threads.
  bool permits(std::int64_t chunk) const { return chunk < first_.load(std::memory_order_relaxed); }
  /// To be called in the handler.
  void keep(std::int64_t chunk) noexcept;
  void rethrow_if_any() const {
    if (exception_) std::rethrow_exception(exception_);
  }

 private:
  std::atomic<std::int64_t> first_{std::numeric_limits<std::int64_t>::max()};
  std::mutex guard_;
  std::exception_ptr exception_;
};

/// Calls body(begin, end) for [0, grain), [grain, 2 grain), ... below `count`, in parallel where the whole is worth it.
/// `work` is about the number of elementary operations for one index. Where bodies throw, the exception of the first of
/// them in this order leaves the loop, on the calling thread; chunks behind it may have been run or not.
template <class Body>
void parallel_for(std::int64_t count, std::int64_t grain, std::int64_t work, Body&& body) {
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t chunks = (count + grain - 1) / grain;
  if (chunks <= 1 || thread_count() == 1 || count < worth_sharing() / std::max<std::int64_t>(work, 1)) {
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk * grain, std::min(count, (chunk + 1) * grain));
    return;
  }
  FirstException exception;
#pragma omp parallel for schedule(dynamic, 1) num_threads(thread_count())
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    if (!exception.permits(chunk)) continue;
    try {
      body(chunk * grain, std::min(count, (chunk + 1) * grain));
    } catch (...) {
      exception.keep(chunk);
    }
  }
  exception.rethrow_if_any();
}

}  // namespace gradus::cpu
