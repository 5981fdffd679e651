#include "framework/kernels/cpu/parallel.h"

#include <omp.h>

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

std::int64_t worth_sharing() { return worth; }

SharingScope::SharingScope(int count) : threads_before_(threads), worth_before_(worth) {
  set_thread_count(count);
  worth = 1;
}

SharingScope::~SharingScope() {
  threads = threads_before_;
  worth = worth_before_;
}

}  // namespace gradus::cpu
