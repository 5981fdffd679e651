#include "framework/kernels/cuda/kernel.h"
#include "framework/kernels/cuda/tensor_core.h"
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

__global__ void __launch_bounds__(1) functions_kernel(double* results, const int* address) {
  const int one = __ldg(address);
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

__global__ void __launch_bounds__(128)
    atomic_sums_kernel(float* sum_f32, double* sum_f64, unsigned long long* sum_u64) {
  atomicAdd(sum_f32, static_cast<float>(threadIdx.x));
  atomicAdd(sum_f64, static_cast<double>(threadIdx.x));
  atomicAdd(sum_u64, static_cast<unsigned long long>(threadIdx.x));
}

template <bool transposed>
__global__ void __launch_bounds__(32) load_matrices_kernel(float* results, const bfloat16* x) {
  auto& matrices = shared_array<bfloat16[4 * 8 * 8], struct matrices_to_load>();
  for (int i = threadIdx.x; i < 4 * 8 * 8; i += 32) matrices[i] = x[i];
  __syncwarp();
  std::uint32_t registers[4];
  cuda::load_matrices<transposed>(registers, matrices + threadIdx.x * 8);
  for (int matrix = 0; matrix < 4; ++matrix) {
    results[threadIdx.x * 8 + matrix * 2] = __uint_as_float(registers[matrix] << 16);
    results[threadIdx.x * 8 + matrix * 2 + 1] = __uint_as_float(registers[matrix] & 0xffff0000u);
  }
}

__global__ void __launch_bounds__(1)
    sum_by_the_last_block_kernel(float* total, float* partial, unsigned* done, const float* x, std::int64_t n) {
  float sum = 0;
  for (std::int64_t i = blockIdx.x; i < n; i += gridDim.x) sum += x[i];
  partial[blockIdx.x] = sum;
  __threadfence();  // before this block counts as done, its sum is there for all
  if (atomicAdd(done, 1u) + 1 < gridDim.x) return;
  __threadfence();
  *total = 0;
  for (unsigned block = 0; block < gridDim.x; ++block) *total += partial[block];
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

void functions(double* results, const int* one, Stream stream) {
  launch<functions_kernel>({.blocks = 1, .threads = 1, .stream = stream}, results, one);
}

void atomics(int* results, Stream stream) {
  launch<atomics_kernel>({.blocks = 1, .threads = 70, .stream = stream}, results);
}

void atomic_sums(float* sum_f32, double* sum_f64, unsigned long long* sum_u64, Stream stream) {
  launch<atomic_sums_kernel>({.blocks = 1, .threads = 70, .stream = stream}, sum_f32, sum_f64, sum_u64);
}

void load_matrices(float* results, const bfloat16* x, bool transposed, Stream stream) {
  const LaunchShape shape = {.blocks = 1, .threads = 32, .stream = stream};
  if (transposed) {
    launch<load_matrices_kernel<true>>(shape, results, x);
  } else {
    launch<load_matrices_kernel<false>>(shape, results, x);
  }
}

void sum_by_the_last_block(float* total, float* partial, unsigned* done, const float* x, std::int64_t n,
                           Stream stream) {
  launch<sum_by_the_last_block_kernel>({.blocks = 8, .threads = 1, .stream = stream}, total, partial, done, x, n);
}

void indices(int* results, Stream stream) {
  launch<indices_kernel>({.blocks = {3, 2, 2}, .threads = {4, 3, 2}, .stream = stream}, results);
}

}  // namespace gradus::cuda::language
