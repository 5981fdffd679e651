// Small kernels, each with one idea: what the CUDA layer is tested with, and what docs/cuda-emulation.md steps through.
#pragma once

#include <cstdint>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda::teaching {

/// y[i] = a x[i] + y[i], by few threads that walk in strides of the whole grid.
void add_scaled(float* y, float a, const float* x, std::int64_t n, Stream stream);

/// sums[row] = sum of x (rows, width), a block for each row: warps by shuffles, then their sums through shared memory.
template <class T>
void sum_rows(T* sums, const T* x, std::int64_t rows, std::int64_t width, Stream stream);

/// maxima[row] = maximum of x (rows, width), a warp for each row and several warps in a block.
void maximum_of_rows(float* maxima, const float* x, std::int64_t rows, std::int64_t width, Stream stream);

/// y (columns, rows) = x (rows, columns) transposed, through tiles in static shared memory.
void transpose(float* y, const float* x, std::int64_t rows, std::int64_t columns, Stream stream);

/// counts[v] = how many of x[0..n) are v, for v < bins <= 1024: atomics in shared memory, then in global memory.
void histogram(int* counts, int bins, const int* x, std::int64_t n, Stream stream);

/// c (m,n) = a (m,k) b (n,k)^T in f32: tensor cores in bf16, two stages of tiles filled by asynchronous copies.
/// m and n multiples of 32, k of 16.
void bf16_product(float* c, const bfloat16* a, const bfloat16* b, std::int64_t m, std::int64_t n, std::int64_t k,
                  Stream stream);

/// c (m,n) = a (m,k) b (k,n) on tensor cores in TF32, straight from global memory. m multiple of 16, n and k of 8.
void tf32_product(float* c, const float* a, const float* b, std::int64_t m, std::int64_t n, std::int64_t k,
                  Stream stream);

}  // namespace gradus::cuda::teaching
