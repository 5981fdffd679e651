// What the host does wrong: launches that no device can start, and results used before they are there.
#include "framework/kernels/cuda/kernel.h"
#include "tests/planted_defects/planted.h"

namespace planted {
namespace {

using namespace gradus::cuda;

__global__ void set(float* y, float value) { y[threadIdx.x] = value; }

/// A launch of `set` with this shape.
bool sets(const LaunchShape& shape) {
  Buffer<float> y(2048);
  launch<set>(shape, y.data(), 1.0f);
  return true;
}

constexpr emulation::Settings deferred = {.schedule = 0, .deferred = true};

}  // namespace

std::vector<Case> launch_cases() {
  const auto everywhere = [](const char* text) { return Heard{text, text, text}; };
  return {
      {"set",
       nullptr,
       {},
       [] {
         const emulation::SettingsScope scope(deferred);
         Buffer<float> y(32);
         launch<set>({.blocks = 1, .threads = 32}, y.data(), 1.0f);
         return holds(y, [](int) { return 1; });
       }},
      {"freed_too_early",
       "frees memory that a queued kernel writes",
       {.address = "heap-use-after-free"},
       [] {
         const emulation::SettingsScope scope(deferred);
         {
           Buffer<float> y(32);
           launch<set>({.blocks = 1, .threads = 32}, y.data(), 1.0f);
         }
         synchronize(nullptr);
         return true;
       }},
      {"read_without_synchronising", "reads a copy to the host before its stream is synchronised",
       everywhere("wrong result"),
       [] {
         const emulation::SettingsScope scope(deferred);
         Buffer<float> y(32);
         std::vector<float> values(32, 0);
         launch<set>({.blocks = 1, .threads = 32}, y.data(), 1.0f);
         copy_to_host(values.data(), y.data(), sizeof(float) * 32, nullptr);
         const bool right = values[31] == 1;
         synchronize(nullptr);
         return right;
       }},
      {"too_many_threads", "launches blocks of 2048 threads",
       everywhere("2048 threads along x, possible are 1 to 1024"), [] { return sets({.blocks = 1, .threads = 2048}); }},
      {"too_many_threads_in_all", "launches blocks of 64 x 32 threads",
       everywhere("2048 threads in a block, possible are 1 to 1024"),
       [] {
         return sets({.blocks = 1, .threads = {64, 32}});
       }},
      {"too_many_blocks", "launches 70000 blocks along y", everywhere("70000 blocks along y, possible are 1 to 65535"),
       [] {
         return sets({.blocks = {1, 70000}, .threads = 32});
       }},
      {"no_blocks", "launches no block at all, for an empty tensor", everywhere("0 blocks along x, possible are 1 to"),
       [] { return sets({.blocks = blocks_for(0, 32), .threads = 32}); }},
      {"too_much_shared_memory", "asks for 256 KiB of shared memory",
       everywhere("262144 bytes of dynamic shared memory, possible are 0 to 232448"),
       [] { return sets({.blocks = 1, .threads = 32, .shared_bytes = 256 * 1024}); }},
  };
}

}  // namespace planted
