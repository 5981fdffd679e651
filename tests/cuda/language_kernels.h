// Kernels that write down what CUDA's built-in variables and functions are.
#pragma once

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda::language {

/// results (32,12): what each lane of a warp gets from shuffles and votes.
void shuffles_and_votes(int* results, Stream stream);

/// results (12): of functions that concern one thread only. *one = 1, which no compiler knows.
void functions(double* results, const int* one, Stream stream);

/// results (4), at first 0: a sum, a maximum, how many of 70 threads were the first to change a word, and that word.
void atomics(int* results, Stream stream);

/// sum: the sum of the numbers of 70 threads, in each type that has an atomic sum. At first 0.
void atomic_sums(float* sum_f32, double* sum_f64, unsigned long long* sum_u64, Stream stream);

/// results (32,4,2): the elements of the four 8 x 8 matrices in x (4,8,8) that each lane gets in its registers.
void load_matrices(float* results, const bfloat16* x, bool transposed, Stream stream);

/// total = the sum of x[0..n), where the last of several blocks to finish adds up the sums of all: partial (8), done
/// (1) = 0.
void sum_by_the_last_block(float* total, float* partial, unsigned* done, const float* x, std::int64_t n, Stream stream);

/// results[i] = i, where i counts the threads of a grid of (3,2,2) blocks of (4,3,2) threads, x fastest.
void indices(int* results, Stream stream);

}  // namespace gradus::cuda::language
