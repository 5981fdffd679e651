// What a kernel file (.cu) includes. The same source is compiled twice: by nvcc for a device, and by a host compiler
// for the emulation, which runs every thread of a block as a fiber (docs/cuda-emulation.md). It is ordinary CUDA,
// except:
//   launch<kernel>({.blocks = ..., .threads = ...}, arguments...)   for kernel<<<...>>>(arguments...)
//   dynamic_shared<T>()                                             for extern __shared__ T name[]
//   shared_array<T[32], struct name>()                              for __shared__ T name[32], in templates
//   asynchronous_copy.h and tensor_core.h                           for instructions that have no C++
// Kernels and their helpers belong in an unnamed namespace: only there does AddressSanitizer guard a __shared__ array.
#pragma once

#if defined(__CUDACC__)
#include "framework/kernels/cuda/device_kernel.h"
#else
#include "framework/kernels/cuda/emulation/kernel.h"
#endif
