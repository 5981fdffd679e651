#include "framework/kernels/cuda/launch.h"

#include "framework/base/error.h"
#include "framework/base/source_location.h"
#include "framework/kernels/cuda/kernel_name.h"

namespace gradus::cuda {
namespace {

struct Limit {
  const char* what;
  std::int64_t value, most;
};

}  // namespace

void check_launch(const char* kernel, const LaunchShape& shape) {
  const Extent &blocks = shape.blocks, &threads = shape.threads;
  const Limit limits[] = {
      {"blocks along x", blocks.x, 2147483647},     {"blocks along y", blocks.y, 65535},
      {"blocks along z", blocks.z, 65535},          {"threads along x", threads.x, most_threads},
      {"threads along y", threads.y, most_threads}, {"threads along z", threads.z, 64},
  };
  const auto refuse = [&](const char* what, std::int64_t value, std::int64_t least, std::int64_t most) {
    fail("[kernel {}] launched with {} {}, possible are {} to {}, at {}", kernel_name(kernel), value, what, least, most,
         to_string(shape.where));
  };
  for (const Limit& limit : limits) {
    if (limit.value < 1 || limit.value > limit.most) refuse(limit.what, limit.value, 1, limit.most);
  }
  const std::int64_t all_threads = threads.x * threads.y * threads.z;
  if (all_threads > most_threads) refuse("threads in a block", all_threads, 1, most_threads);
  if (shape.shared_bytes > most_shared_bytes) {
    refuse("bytes of dynamic shared memory", static_cast<std::int64_t>(shape.shared_bytes), 0, most_shared_bytes);
  }
}

}  // namespace gradus::cuda
