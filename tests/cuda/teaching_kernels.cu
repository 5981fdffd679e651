#include "framework/kernels/cuda/asynchronous_copy.h"
#include "framework/kernels/cuda/kernel.h"
#include "framework/kernels/cuda/tensor_core.h"
#include "tests/cuda/teaching_kernels.h"

namespace gradus::cuda::teaching {
namespace {

__global__ void __launch_bounds__(128) add_scaled_kernel(float* y, float a, const float* x, std::int64_t n) {
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    y[i] = a * x[i] + y[i];
  }
}

/// In every lane, the sum of the warp's values.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

/// In every thread, the sum of the block's values. Blocks of whole warps.
template <class T>
__device__ T block_sum(T value) {
  auto& warp_sums = shared_array<T[32], struct warp_sums_of_block>();
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = value;
  __syncthreads();
  T sum = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) sum += warp_sums[warp];
  __syncthreads();  // the next call may write
  return sum;
}

template <class T>
__global__ void __launch_bounds__(128) sum_rows_kernel(T* sums, const T* x, std::int64_t width) {
  const T* row = x + blockIdx.x * width;
  T sum = 0;
  for (std::int64_t i = threadIdx.x; i < width; i += blockDim.x) sum += row[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(128)
    maximum_of_rows_kernel(float* maxima, const float* x, std::int64_t rows, std::int64_t width) {
  const std::int64_t row = std::int64_t{blockIdx.x} * (blockDim.x / 32) + threadIdx.x / 32;
  if (row >= rows) return;  // a whole warp leaves: the others use no barrier of the block
  const int lane = threadIdx.x % 32;
  float maximum = -INFINITY;
  for (std::int64_t i = lane; i < width; i += 32) maximum = fmaxf(maximum, x[row * width + i]);
  for (int distance = 16; distance > 0; distance /= 2) {
    maximum = fmaxf(maximum, __shfl_down_sync(0xffffffffu, maximum, distance));
  }
  if (lane == 0) maxima[row] = maximum;
}

constexpr int transpose_tile = 16;

__global__ void __launch_bounds__(transpose_tile* transpose_tile)
    transpose_kernel(float* y, const float* x, std::int64_t rows, std::int64_t columns) {
  __shared__ float tile[transpose_tile][transpose_tile + 1];  // a column's elements lie in different banks
  const std::int64_t row0 = std::int64_t{blockIdx.y} * transpose_tile,
                     column0 = std::int64_t{blockIdx.x} * transpose_tile;
  if (row0 + threadIdx.y < rows && column0 + threadIdx.x < columns) {
    tile[threadIdx.y][threadIdx.x] = x[(row0 + threadIdx.y) * columns + column0 + threadIdx.x];
  }
  __syncthreads();
  if (column0 + threadIdx.y < columns && row0 + threadIdx.x < rows) {
    y[(column0 + threadIdx.y) * rows + row0 + threadIdx.x] = tile[threadIdx.x][threadIdx.y];
  }
}

__global__ void __launch_bounds__(128) histogram_kernel(int* counts, int bins, const int* x, std::int64_t n) {
  int* of_block = dynamic_shared<int>();  // (bins)
  for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) of_block[bin] = 0;
  __syncthreads();
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += stride) {
    atomicAdd(&of_block[x[i]], 1);
  }
  __syncthreads();
  for (int bin = threadIdx.x; bin < bins; bin += blockDim.x) atomicAdd(&counts[bin], of_block[bin]);
}

// A tile of c (32,32) by a block of four warps, a quarter (16,16) each.
constexpr int product_tile = 32;
constexpr int product_step = 16;                 // along k
constexpr int product_pitch = product_step + 8;  // of a row in shared memory: 48 bytes spread eight rows over the banks
constexpr int product_stage = 2 * product_tile * product_pitch;
constexpr int product_threads = 128;

/// Asks for the rows of a and b that one step needs: one copy of 16 bytes by each thread.
__device__ __forceinline__ void fetch_stage(bfloat16* stage, const bfloat16* a, const bfloat16* b, std::int64_t k) {
  const int row = threadIdx.x / 2 % product_tile, column = threadIdx.x % 2 * 8;
  const bool is_b = threadIdx.x >= product_threads / 2;
  copy_asynchronously<16>(stage + (is_b ? product_tile + row : row) * product_pitch + column,
                          (is_b ? b : a) + row * k + column);
}

__global__ void __launch_bounds__(product_threads)
    bf16_product_kernel(float* c, const bfloat16* a, const bfloat16* b, std::int64_t n, std::int64_t k) {
  bfloat16* stages = dynamic_shared<bfloat16>();  // (2 stages, a then b, 32 rows, pitch)
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row0 = warp / 2 * 16, column0 = warp % 2 * 16;
  a += std::int64_t{blockIdx.y} * product_tile * k;
  b += std::int64_t{blockIdx.x} * product_tile * k;
  float sums[2][4] = {};  // two products of (16,8), side by side
  fetch_stage(stages, a, b, k);
  commit_copies();
  for (std::int64_t step = 0; step < k; step += product_step) {
    const bfloat16* stage = stages + step / product_step % 2 * product_stage;
    bfloat16* next = stages + (step / product_step + 1) % 2 * product_stage;
    if (step + product_step < k) fetch_stage(next, a + step + product_step, b + step + product_step, k);
    commit_copies();
    wait_for_copies<1>();
    __syncthreads();
    std::uint32_t of_a[4], of_b[4];
    load_matrices(of_a, stage + (row0 + lane % 16) * product_pitch + lane / 16 * 8);
    load_matrices(of_b, stage + (product_tile + column0 + lane / 16 * 8 + lane % 8) * product_pitch + lane / 8 % 2 * 8);
    multiply_bf16(sums[0], of_a, {of_b[0], of_b[1]});
    multiply_bf16(sums[1], of_a, {of_b[2], of_b[3]});
    __syncthreads();  // the stage is free again
  }
  for (int side = 0; side < 2; ++side) {
    const std::int64_t row = std::int64_t{blockIdx.y} * product_tile + row0 + lane / 4;
    const std::int64_t column = std::int64_t{blockIdx.x} * product_tile + column0 + side * 8 + lane % 4 * 2;
    *reinterpret_cast<float2*>(c + row * n + column) = make_float2(sums[side][0], sums[side][1]);
    *reinterpret_cast<float2*>(c + (row + 8) * n + column) = make_float2(sums[side][2], sums[side][3]);
  }
}

__global__ void __launch_bounds__(32)
    tf32_product_kernel(float* c, const float* a, const float* b, std::int64_t n, std::int64_t k) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  a += std::int64_t{blockIdx.y} * 16 * k;
  b += std::int64_t{blockIdx.x} * 8;
  c += std::int64_t{blockIdx.y} * 16 * n + std::int64_t{blockIdx.x} * 8;
  float sums[4] = {};
  for (std::int64_t step = 0; step < k; step += 8) {
    const float *top = a + g * k + step + t, *bottom = top + 8 * k;
    const float* down = b + (step + t) * n + g;
    multiply_tf32(sums, {to_tf32(top[0]), to_tf32(bottom[0]), to_tf32(top[4]), to_tf32(bottom[4])},
                  {to_tf32(down[0]), to_tf32(down[4 * n])});
  }
  *reinterpret_cast<float2*>(c + g * n + 2 * t) = make_float2(sums[0], sums[1]);
  *reinterpret_cast<float2*>(c + (g + 8) * n + 2 * t) = make_float2(sums[2], sums[3]);
}

}  // namespace

void add_scaled(float* y, float a, const float* x, std::int64_t n, Stream stream) {
  if (n == 0) return;
  launch<add_scaled_kernel>({.blocks = 4, .threads = 128, .stream = stream}, y, a, x, n);
}

template <class T>
void sum_rows(T* sums, const T* x, std::int64_t rows, std::int64_t width, Stream stream) {
  launch<sum_rows_kernel<T>>({.blocks = rows, .threads = 128, .stream = stream}, sums, x, width);
}
template void sum_rows(float*, const float*, std::int64_t, std::int64_t, Stream);
template void sum_rows(double*, const double*, std::int64_t, std::int64_t, Stream);

void maximum_of_rows(float* maxima, const float* x, std::int64_t rows, std::int64_t width, Stream stream) {
  launch<maximum_of_rows_kernel>({.blocks = blocks_for(rows, 4), .threads = 128, .stream = stream}, maxima, x, rows,
                                 width);
}

void transpose(float* y, const float* x, std::int64_t rows, std::int64_t columns, Stream stream) {
  launch<transpose_kernel>({.blocks = {blocks_for(columns, transpose_tile), blocks_for(rows, transpose_tile)},
                            .threads = {transpose_tile, transpose_tile},
                            .stream = stream},
                           y, x, rows, columns);
}

void histogram(int* counts, int bins, const int* x, std::int64_t n, Stream stream) {
  launch<histogram_kernel>({.blocks = 3, .threads = 128, .shared_bytes = bins * sizeof(int), .stream = stream}, counts,
                           bins, x, n);
}

void bf16_product(float* c, const bfloat16* a, const bfloat16* b, std::int64_t m, std::int64_t n, std::int64_t k,
                  Stream stream) {
  launch<bf16_product_kernel>({.blocks = {n / product_tile, m / product_tile},
                               .threads = product_threads,
                               .shared_bytes = 2 * product_stage * sizeof(bfloat16),
                               .stream = stream},
                              c, a, b, n, k);
}

void tf32_product(float* c, const float* a, const float* b, std::int64_t m, std::int64_t n, std::int64_t k,
                  Stream stream) {
  launch<tf32_product_kernel>({.blocks = {n / 8, m / 16}, .threads = 32, .stream = stream}, c, a, b, n, k);
}

}  // namespace gradus::cuda::teaching
