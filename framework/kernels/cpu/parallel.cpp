#include "framework/kernels/cpu/parallel.h"

#include <omp.h>

#include "framework/base/error.h"

namespace gradus::cpu {
namespace {
int threads = std::max(1, omp_get_num_procs());
}

int thread_count() { return threads; }

void set_thread_count(int count) {
  if (count < 1) fail<UsageError>("the number of threads must be at least 1, not {}", count);
  threads = count;
}

}  // namespace gradus::cpu
