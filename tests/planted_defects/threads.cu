// Threads that do not wait for each other where they must, or wait where the others do not come.
#include "framework/base/error.h"
#include "framework/kernels/cuda/asynchronous_copy.h"
#include "framework/kernels/cuda/kernel.h"
#include "tests/planted_defects/planted.h"

namespace planted {
namespace {

using gradus::cuda::dynamic_shared;
using gradus::cuda::launch;

constexpr unsigned all = 0xffffffffu;

__global__ void reverse(float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = threadIdx.x;
  __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void reverse_without_barrier(float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = threadIdx.x;
  y[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void reverse_rounds(float* y) {
  __shared__ float s[64];
  float sum = 0;
  for (int round = 0; round < 3; ++round) {
    s[threadIdx.x] = threadIdx.x + round;
    __syncthreads();
    sum += s[63 - threadIdx.x];
    __syncthreads();
  }
  y[threadIdx.x] = sum;
}
__global__ void reverse_rounds_without_second_barrier(float* y) {
  __shared__ float s[64];
  float sum = 0;
  for (int round = 0; round < 3; ++round) {
    s[threadIdx.x] = threadIdx.x + round;
    __syncthreads();
    sum += s[63 - threadIdx.x];
  }
  y[threadIdx.x] = sum;
}
__global__ void neighbour(float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = threadIdx.x;
  __syncwarp();
  y[threadIdx.x] = s[threadIdx.x ^ 1];
}
__global__ void neighbour_without_syncwarp(float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = threadIdx.x;
  y[threadIdx.x] = s[threadIdx.x ^ 1];
}
__global__ void shuffle_taken_for_a_fence(float* y) {
  __shared__ float s[64];
  s[threadIdx.x] = threadIdx.x;
  const float own = __shfl_sync(all, 0.0f, 1);  // it passes values; it orders no memory
  y[threadIdx.x] = s[threadIdx.x ^ 1] + own;
}
__global__ void half_warps(float* y) {
  const unsigned half = threadIdx.x % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  y[threadIdx.x] = __shfl_xor_sync(half, 1.0f * threadIdx.x, 1);
}
__global__ void lane_outside_its_mask(float* y) {
  y[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, 1.0f * threadIdx.x, 1);
}
__global__ void source_outside_the_mask(float* y) {
  const unsigned half = threadIdx.x % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  y[threadIdx.x] = __shfl_xor_sync(half, 1.0f * threadIdx.x, 16);
}
__global__ void shuffle_in_a_branch(float* y) {
  float sum = threadIdx.x;
  if (threadIdx.x % 2) sum += __shfl_xor_sync(all, sum, 2);
  y[threadIdx.x] = sum;
}
__global__ void shuffle_against_vote(float* y) {
  y[threadIdx.x] = threadIdx.x % 2 ? __shfl_sync(all, 1.0f, 0) : __any_sync(all, 1);
}
__global__ void barrier_in_a_branch(float* y) {
  if (threadIdx.x < 40) __syncthreads();
  y[threadIdx.x] = threadIdx.x;
}
__global__ void return_before_the_barrier(float* y, int n) {
  if (static_cast<int>(threadIdx.x) >= n) return;
  y[threadIdx.x] = threadIdx.x;
  __syncthreads();
}
__global__ void two_barriers_in_two_branches(float* y) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = threadIdx.x;
}
__global__ void add_up(int* y) { atomicAdd(&y[threadIdx.x % 3], 1); }
__global__ void add_up_without_atomic(int* y) { y[threadIdx.x % 3] += 1; }
__global__ void add_up_blocks(int* y) { atomicAdd(&y[threadIdx.x], 1); }
__global__ void add_up_blocks_without_atomic(int* y) { y[threadIdx.x] += 1; }
__global__ void static_shared_in_many_blocks(int* y) {
  __shared__ int s[48];
  s[threadIdx.x] = 1;
  __syncthreads();
  atomicAdd(&y[threadIdx.x], s[47 - threadIdx.x]);
}
__global__ void copy_that_is_waited_for(float* y, const float* x) {
  float* s = dynamic_shared<float>();
  gradus::cuda::copy_asynchronously<4>(s + threadIdx.x, x + threadIdx.x);
  gradus::cuda::commit_copies();
  gradus::cuda::wait_for_copies<0>();
  __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void copy_not_waited_for(float* y, const float* x) {
  float* s = dynamic_shared<float>();
  gradus::cuda::copy_asynchronously<4>(s + threadIdx.x, x + threadIdx.x);
  gradus::cuda::commit_copies();
  __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void copy_waited_for_too_little(float* y, const float* x) {
  float* s = dynamic_shared<float>();
  gradus::cuda::copy_asynchronously<4>(s + threadIdx.x, x + threadIdx.x);
  gradus::cuda::commit_copies();
  gradus::cuda::wait_for_copies<1>();
  __syncthreads();
  y[threadIdx.x] = s[63 - threadIdx.x];
}
__global__ void copy_without_barrier(float* y, const float* x) {
  float* s = dynamic_shared<float>();
  gradus::cuda::copy_asynchronously<4>(s + threadIdx.x, x + threadIdx.x);
  gradus::cuda::commit_copies();
  gradus::cuda::wait_for_copies<0>();
  y[threadIdx.x] = s[63 - threadIdx.x];
}

__global__ void last_block_adds_up(int* y, unsigned* done) {
  y[1 + blockIdx.x] = static_cast<int>(blockIdx.x);
  __threadfence();  // before this block counts as done, its number is there for all
  if (atomicAdd(done, 1u) + 1 < gridDim.x) return;
  __threadfence();
  for (unsigned block = 0; block < gridDim.x; ++block) y[0] += y[1 + block];
}
__global__ void arrays_and_a_barrier_in_a_branch(float* y) {
  float small[3], large[40];
  for (int i = 0; i < 40; ++i) small[i % 3] = large[i] = i + threadIdx.x;
  if (threadIdx.x % 2 == 0) __syncthreads();
  y[threadIdx.x] = small[threadIdx.x % 3] + large[threadIdx.x % 40];
}
__global__ void one_array(float* y) {
  float numbers[64];
  for (int i = 0; i < 64; ++i) numbers[i] = i;
  __syncthreads();
  y[threadIdx.x] = numbers[threadIdx.x];
}

float own_number(int i) { return static_cast<float>(i); }
float reversed(int i) { return 63.0f - i; }
float reversed_rounds(int i) { return 3 * (63.0f - i) + 3; }
float of_neighbour(int i) { return static_cast<float>(i ^ 1); }

/// Runs a kernel of 64 threads that writes y (n).
template <auto Kernel, class... Arguments>
bool right(float (*expected)(int), int n, Arguments... arguments) {
  Buffer<float> y(n);
  launch<Kernel>({.blocks = 1, .threads = 64}, y.data(), arguments...);
  return holds(y, expected);
}

/// Runs a kernel of 48 threads that adds to zeros: each of y (n) must become `expected`.
template <auto Kernel>
bool adds_up(int n, int blocks, int expected) {
  Buffer<int> y(std::vector<int>(n, 0));
  launch<Kernel>({.blocks = blocks, .threads = 48}, y.data());
  return holds(y, [=](int) { return expected; });
}

template <auto Kernel>
bool copies() {
  std::vector<float> numbers(64);
  for (int i = 0; i < 64; ++i) numbers[i] = own_number(i);
  Buffer<float> x(numbers), y(64);
  launch<Kernel>({.blocks = 1, .threads = 64, .shared_bytes = 256}, y.data(), x.data());
  return holds(y, reversed);
}

bool blocks_add_up() {
  Buffer<int> y(std::vector<int>(6, 0));
  Buffer<unsigned> done(std::vector<unsigned>{0});
  launch<last_block_adds_up>({.blocks = 5, .threads = 1}, y.data(), done.data());
  return y.values()[0] == 0 + 1 + 2 + 3 + 4;
}

/// The stacks of threads that were left in their middle are used again.
bool works_after_failure() {
  try {
    right<arrays_and_a_barrier_in_a_branch>(own_number, 64);
    return false;
  } catch (const gradus::ContractError&) {
    return right<one_array>(own_number, 64);
  }
}

}  // namespace

std::vector<Case> thread_cases() {
  constexpr const char* wrong = "wrong result";
  constexpr const char* race = "data race";
  constexpr const char* stuck = "not every thread reaches the same collective";
  constexpr const char* apart = "meet in different collectives";
  const auto everywhere = [](const char* text) { return Heard{text, text, text}; };
  return {
      {"reverse", nullptr, {}, [] { return right<reverse>(reversed, 64); }},
      {"reverse_without_barrier",
       "reads what another thread writes, without a `__syncthreads` between",
       {wrong, wrong, race},
       [] { return right<reverse_without_barrier>(reversed, 64); }},
      {"reverse_rounds", nullptr, {}, [] { return right<reverse_rounds>(reversed_rounds, 64); }},
      {"reverse_rounds_without_second_barrier",
       "writes again what others still read, without a `__syncthreads` between",
       {wrong, wrong, race},
       [] { return right<reverse_rounds_without_second_barrier>(reversed_rounds, 64); }},
      {"neighbour", nullptr, {}, [] { return right<neighbour>(of_neighbour, 64); }},
      {"neighbour_without_syncwarp",
       "reads what its neighbour in the warp writes, without a `__syncwarp` between",
       {wrong, wrong, race},
       [] { return right<neighbour_without_syncwarp>(of_neighbour, 64); }},
      {"shuffle_taken_for_a_fence",
       "has a shuffle where a `__syncwarp` belongs",
       {.thread = race},
       [] { return right<shuffle_taken_for_a_fence>(of_neighbour, 64); }},
      {"half_warps", nullptr, {}, [] { return right<half_warps>(of_neighbour, 64); }},
      {"lane_outside_its_mask", "shuffles with a mask that leaves out the calling lane",
       everywhere("which leaves it out"), [] { return right<lane_outside_its_mask>(of_neighbour, 64); }},
      {"source_outside_the_mask", "shuffles from a lane outside the mask", everywhere("which is not in mask"),
       [] { return right<source_outside_the_mask>(of_neighbour, 64); }},
      {"shuffle_in_a_branch", "shuffles with all lanes' mask in a branch that half of them take", everywhere(stuck),
       [] { return right<shuffle_in_a_branch>(own_number, 64); }},
      {"shuffle_against_vote", "lets half of the lanes shuffle while the others vote", everywhere(apart),
       [] { return right<shuffle_against_vote>(own_number, 64); }},
      {"barrier_in_a_branch", "has a `__syncthreads` in a branch that some threads take", everywhere(stuck),
       [] { return right<barrier_in_a_branch>(own_number, 64); }},
      {"return_before_the_barrier", "returns from some threads before a `__syncthreads`", everywhere(stuck),
       [] { return right<return_before_the_barrier>(own_number, 40, 40); }},
      {"two_barriers_in_two_branches", "waits at one `__syncthreads` in half of the threads, at another in the others",
       everywhere(apart), [] { return right<two_barriers_in_two_branches>(own_number, 64); }},
      {"add_up", nullptr, {}, [] { return adds_up<add_up>(3, 1, 16); }},
      {"add_up_without_atomic",
       "adds to one place from several threads of a block, without an atomic",
       {.thread = race},
       [] { return adds_up<add_up_without_atomic>(3, 1, 16); }},
      {"add_up_blocks", nullptr, {}, [] { return adds_up<add_up_blocks>(48, 4, 4); }},
      {"add_up_blocks_without_atomic",
       "adds to one place from several blocks, without an atomic",
       {.thread = race},
       [] { return adds_up<add_up_blocks_without_atomic>(48, 4, 4); }},
      {"static_shared_in_many_blocks", nullptr, {}, [] { return adds_up<static_shared_in_many_blocks>(48, 4, 4); }},
      {"copy_that_is_waited_for", nullptr, {}, [] { return copies<copy_that_is_waited_for>(); }},
      {"copy_not_waited_for",
       "reads what an asynchronous copy brings, without waiting for it",
       {wrong, wrong, wrong},
       [] { return copies<copy_not_waited_for>(); }},
      {"copy_waited_for_too_little",
       "waits for all asynchronous copies but the one that it reads",
       {wrong, wrong, wrong},
       [] { return copies<copy_waited_for_too_little>(); }},
      {"copy_after_one_that_was_never_waited_for",
       nullptr,
       {},
       [] { return !copies<copy_not_waited_for>() && copies<copy_that_is_waited_for>(); }},
      {"last_block_adds_up", nullptr, {}, [] { return blocks_add_up(); }},
      {"launch_after_a_failed_one", nullptr, {}, [] { return works_after_failure(); }},
      {"copy_without_barrier",
       "reads what other threads' asynchronous copies bring, without a `__syncthreads` between",
       {wrong, wrong, race},
       [] { return copies<copy_without_barrier>(); }},
  };
}

}  // namespace planted
