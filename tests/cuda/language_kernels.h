// Kernels that write down what CUDA's built-in variables and functions are.
#pragma once

#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda::language {

/// results (32,12): what each lane of a warp gets from shuffles and votes.
void shuffles_and_votes(int* results, Stream stream);

/// results (12): of functions that concern one thread only.
void functions(double* results, Stream stream);

/// results (4), at first 0: a sum, a maximum, how many of 70 threads were the first to change a word, and that word.
void atomics(int* results, Stream stream);

/// results[i] = i, where i counts the threads of a grid of (3,2,2) blocks of (4,3,2) threads, x fastest.
void indices(int* results, Stream stream);

}  // namespace gradus::cuda::language
