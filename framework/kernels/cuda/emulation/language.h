// The language of CUDA as C++: keywords, vector types, the indices of the running thread. Names are CUDA's.
#pragma once

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) __attribute__((aligned(bytes)))

// One block runs at a time, so one static copy is the block's. The copies lie in a section of their own, which is
// filled with NaN before every block. AddressSanitizer guards only what lies in none, and g++ leaves the statics of
// templates out.
#if defined(__SANITIZE_ADDRESS__)
#define GRADUS_EMULATION_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GRADUS_EMULATION_ADDRESS_SANITIZER
#endif
#endif
#if defined(GRADUS_EMULATION_ADDRESS_SANITIZER)
#define __shared__ static
#else
#define __shared__ static __attribute__((section("gradus_shared"), used))
#endif

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

inline constexpr int warpSize = 32;

namespace gradus::cuda::emulation {

/// Of the thread that runs now.
struct Indices {
  uint3 thread{}, block{};
  dim3 threads{}, blocks{};
};
extern Indices indices;

}  // namespace gradus::cuda::emulation

// "used", so that a debugger knows them.
inline const uint3& threadIdx __attribute__((used)) = gradus::cuda::emulation::indices.thread;
inline const uint3& blockIdx __attribute__((used)) = gradus::cuda::emulation::indices.block;
inline const dim3& blockDim __attribute__((used)) = gradus::cuda::emulation::indices.threads;
inline const dim3& gridDim __attribute__((used)) = gradus::cuda::emulation::indices.blocks;
