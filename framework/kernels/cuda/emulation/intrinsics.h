// CUDA's built-in functions, under their own names. The place of the call travels as a last, default argument.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "framework/kernels/cuda/emulation/collectives.h"

namespace gradus::cuda::emulation {

/// Segments of `width` lanes, a power of two: the first lane of the calling lane's segment.
inline int segment_start(int width) { return lane() & ~(width - 1); }

template <class T>
T shuffle_value(unsigned mask, T value, int source, bool in_range, Site site) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "CUDA shuffles numbers of 4 or 8 bytes");
  shuffle(mask, &value, sizeof value, source, in_range, site);
  return value;
}

/// `change` applied to the number at `address`, atomically; returns the number before. A builtin, so that
/// ThreadSanitizer knows it for atomic.
template <class T, class Change>
T atomic_change(T* address, Change change) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA has atomics of 4 and 8 bytes");
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  auto* word = reinterpret_cast<Bits*>(address);
  Bits before = __atomic_load_n(word, __ATOMIC_RELAXED), after;
  do {
    after = std::bit_cast<Bits>(static_cast<T>(change(std::bit_cast<T>(before))));
  } while (!__atomic_compare_exchange_n(word, &before, after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return std::bit_cast<T>(before);
}

}  // namespace gradus::cuda::emulation

#define GRADUS_SITE gradus::cuda::emulation::Site site = gradus::cuda::emulation::Site::current()

inline void __syncthreads(GRADUS_SITE) { gradus::cuda::emulation::block_barrier(site); }
inline void __syncwarp(unsigned mask = 0xffffffffu, GRADUS_SITE) { gradus::cuda::emulation::warp_barrier(mask, site); }
inline void __threadfence() { gradus::cuda::emulation::thread_fence(); }

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, GRADUS_SITE) {
  const int start = gradus::cuda::emulation::segment_start(width);
  return gradus::cuda::emulation::shuffle_value(mask, value, start + (source & (width - 1)), true, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, GRADUS_SITE) {
  const int source = gradus::cuda::emulation::lane() ^ bits;
  const bool in_range = source < gradus::cuda::emulation::segment_start(width) + width;
  return gradus::cuda::emulation::shuffle_value(mask, value, source & 31, in_range, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, GRADUS_SITE) {
  const int source = gradus::cuda::emulation::lane() + static_cast<int>(by);
  const bool in_range = source < gradus::cuda::emulation::segment_start(width) + width;
  return gradus::cuda::emulation::shuffle_value(mask, value, source & 31, in_range, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, GRADUS_SITE) {
  const int source = gradus::cuda::emulation::lane() - static_cast<int>(by);
  const bool in_range = source >= gradus::cuda::emulation::segment_start(width);
  return gradus::cuda::emulation::shuffle_value(mask, value, source & 31, in_range, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, GRADUS_SITE) {
  return gradus::cuda::emulation::vote(mask, predicate != 0, site);
}
inline int __any_sync(unsigned mask, int predicate, GRADUS_SITE) {
  return gradus::cuda::emulation::vote(mask, predicate != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, GRADUS_SITE) {
  return gradus::cuda::emulation::vote(mask, predicate == 0, site) == 0;
}

#undef GRADUS_SITE

template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return gradus::cuda::emulation::atomic_change(address, [=](T before) { return before + value; });
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "CUDA has no atomicMax of floating-point numbers");
  return gradus::cuda::emulation::atomic_change(address, [=](T before) { return before < value ? value : before; });
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "CUDA compares and swaps integers");
  return gradus::cuda::emulation::atomic_change(address, [=](T before) { return before == expected ? value : before; });
}

template <class T>
T __ldg(const T* address) {
  return *address;
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
// The C library declares these names itself.
#define __expf(x) std::exp(static_cast<float>(x))
#define __logf(x) std::log(static_cast<float>(x))
