#include "framework/kernels/cuda/kernel.h"
#include "tests/cuda/language_kernels.h"

namespace gradus::cuda::language {
namespace {

constexpr unsigned all = 0xffffffffu;

__global__ void __launch_bounds__(32) shuffles_and_votes_kernel(int* results) {
  const int lane = threadIdx.x;
  const unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  int* row = results + 12 * lane;
  row[0] = __shfl_sync(all, lane, 5);
  row[1] = __shfl_sync(all, lane, 3, 8);
  row[2] = __shfl_xor_sync(all, lane, 17);
  row[3] = __shfl_xor_sync(all, lane, 4, 4);
  row[4] = __shfl_down_sync(all, lane, 9);
  row[5] = __shfl_down_sync(all, lane, 3, 8);
  row[6] = __shfl_up_sync(all, lane, 9);
  row[7] = __shfl_up_sync(all, lane, 3, 8);
  row[8] = static_cast<int>(__ballot_sync(half, lane % 3 == 0));
  row[9] = __any_sync(half, lane == 20);
  row[10] = __all_sync(half, lane < 16);
  row[11] = static_cast<int>(__shfl_sync(all, 0.5 + lane, lane / 2));
}

__global__ void __launch_bounds__(1) functions_kernel(double* results, int one) {
  const float two = 2.0f * one;
  results[0] = __popc(0xf0f0u * one);
  results[1] = __ffs(40 * one);
  results[2] = __clz(255 * one);
  results[3] = __float_as_uint(two);
  results[4] = __uint_as_float(0x3f000000u * one);
  results[5] = rsqrtf(two);
  results[6] = rsqrt(2.0 * one);
  results[7] = min(-3 * one, 4) + 10 * max(-3 * one, 4);
  results[8] = min(7u * one, 4u) + 10 * max(7u * one, 4u);
  results[9] = min(two, 0.5f) + 10 * max(two, 0.5f);
  results[10] = __expf(two);
  results[11] = __logf(two);
}

__global__ void __launch_bounds__(128) atomics_kernel(int* results) {
  atomicAdd(&results[0], static_cast<int>(threadIdx.x));
  atomicMax(&results[1], static_cast<int>(threadIdx.x * 37 % 71));
  if (atomicCAS(&results[3], 0, 1) == 0) atomicAdd(&results[2], 1);
}

__global__ void __launch_bounds__(32) indices_kernel(int* results) {
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned number = thread + blockDim.x * blockDim.y * blockDim.z * block;
  results[number] = static_cast<int>(number);
}

}  // namespace

void shuffles_and_votes(int* results, Stream stream) {
  launch<shuffles_and_votes_kernel>({.blocks = 1, .threads = 32, .stream = stream}, results);
}

void functions(double* results, Stream stream) {
  launch<functions_kernel>({.blocks = 1, .threads = 1, .stream = stream}, results, 1);
}

void atomics(int* results, Stream stream) {
  launch<atomics_kernel>({.blocks = 1, .threads = 70, .stream = stream}, results);
}

void indices(int* results, Stream stream) {
  launch<indices_kernel>({.blocks = {3, 2, 2}, .threads = {4, 3, 2}, .stream = stream}, results);
}

}  // namespace gradus::cuda::language
