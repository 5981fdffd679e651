// Instructions of the tensor cores, which a whole warp executes together: one function for each. On a device it is that
// one instruction. The emulation follows the documented layout: lanes hand each other their registers, and each
// computes its own part of the result, so a wrong index in a kernel gives a wrong result there too. It sums in f32 in
// the order of k; the order and the rounding of a tensor core are its own.
//
// Below, g = lane / 4 and t = lane % 4. A register of bf16 holds two neighbours, the first one in its lower half.
#pragma once

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/kernel.h"

#if !defined(__CUDACC__)
#include "framework/kernels/cuda/emulation/tensor_core.h"
#endif

namespace gradus::cuda {

/// Both rounded to bf16, as a register of the factors holds them.
__device__ __forceinline__ std::uint32_t pack_bf16(float first, float second) {
#if defined(__CUDACC__)
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(second), "f"(first));
  return packed;
#else
  return bfloat16(first).bits | std::uint32_t{bfloat16(second).bits} << 16;
#endif
}

/// d (16,8) += a (16,16) b (16,8): a by rows and b by columns in bf16, d in f32.
///   a[0..3]   the pairs at (g, 2t), (g+8, 2t), (g, 2t+8), (g+8, 2t+8), along the row
///   b[0..1]   the pairs at (2t, g), (2t+8, g), down the column
///   d[0..3]   (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)
__device__ __forceinline__ void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulation::multiply_bf16(d, a, b);
#endif
}

/// The nearest number with TF32's 10 bits after the point, ties away from zero, as multiply_tf32() takes it.
__device__ __forceinline__ std::uint32_t to_tf32(float value) {
#if defined(__CUDACC__)
  std::uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
  return rounded;
#else
  return emulation::to_tf32(value);
#endif
}

/// d (16,8) += a (16,8) b (8,8): a by rows and b by columns in TF32, d in f32.
///   a[0..3]   (g, t), (g+8, t), (g, t+4), (g+8, t+4)
///   b[0..1]   (t, g), (t+4, g)
///   d[0..3]   as for bf16
__device__ __forceinline__ void multiply_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulation::multiply_tf32(d, a, b);
#endif
}

/// Four 8 x 8 matrices of bf16 from shared memory. Lane 8 j + i points to row i of matrix j, 16 aligned bytes.
/// registers[j]: of matrix j the pair at (g, 2t); if transposed, the elements (2t, g) and (2t+1, g).
template <bool transposed = false>
__device__ __forceinline__ void load_matrices(std::uint32_t (&registers)[4], const bfloat16* row) {
#if defined(__CUDACC__)
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
  }
#else
  emulation::load_matrices(registers, *reinterpret_cast<const uint4*>(row), transposed);
#endif
}

}  // namespace gradus::cuda
