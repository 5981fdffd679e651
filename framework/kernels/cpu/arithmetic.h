// What decides the last bits of results on the CPU.
#pragma once

#include <string>

namespace gradus::cpu {

/// The instructions that the kernels were compiled for, and the libraries with the code that they choose here: "x86-64-v4
/// (AVX2, AVX-512); oneDNN 2.6.3 AVX-512 BF16; OpenBLAS 0.3.21 SkylakeX; glibc 2.36 AVX2 FMA". Where it is the same, the
/// same program gives the same bits. The environment has a say in it: ONEDNN_MAX_CPU_ISA, OPENBLAS_CORETYPE,
/// GLIBC_TUNABLES.
std::string describe_arithmetic();

}  // namespace gradus::cpu
