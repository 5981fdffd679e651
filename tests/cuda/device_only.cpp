// Linked into a test program for devices: on a machine without one it ends at once, with the status of a skipped test.
#include <cstdio>
#include <cstdlib>

#include "framework/kernels/cuda/runtime.h"

namespace {

[[maybe_unused]] const bool device_there = [] {
  if (gradus::cuda::device_count() > 0) return true;
  std::puts("skipped: no CUDA device");
  std::exit(77);
}();

}  // namespace
