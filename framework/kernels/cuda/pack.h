// Neighbours in memory that one instruction reads or writes. For kernel files.
#pragma once

#include <cstddef>
#include <cstdint>

#include "framework/base/host_device.h"
#include "framework/kernels/cuda/kernel.h"

namespace gradus::cuda {

namespace detail {

template <std::size_t bytes>
struct WordOf;
template <>
struct WordOf<2> {
  using type = std::uint16_t;
};
template <>
struct WordOf<4> {
  using type = unsigned;
};
template <>
struct WordOf<8> {
  using type = uint2;
};
template <>
struct WordOf<16> {
  using type = uint4;
};

}  // namespace detail

/// `count` elements of together 2, 4, 8 or 16 bytes.
template <class T, int count>
struct Pack {
  using Word = typename detail::WordOf<count * sizeof(T)>::type;
  alignas(Word) T values[count];

  __device__ __forceinline__ T operator[](int i) const { return values[i]; }
  __device__ __forceinline__ T& operator[](int i) { return values[i]; }
};

/// As many elements as the widest instruction moves.
template <class T>
inline constexpr int widest_pack = 16 / sizeof(T);

/// `from` is aligned to the pack's size.
template <int count, class T>
__device__ __forceinline__ Pack<T, count> load_pack(const T* from) {
  using Word = typename Pack<T, count>::Word;
  Pack<T, count> pack;
  reinterpret_cast<Word&>(pack) = *reinterpret_cast<const Word*>(from);
  return pack;
}

template <class T, int count>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, count>& pack) {
  using Word = typename Pack<T, count>::Word;
  *reinterpret_cast<Word*>(to) = reinterpret_cast<const Word&>(pack);
}

GRADUS_HOST_DEVICE inline bool is_aligned(const void* address, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
}

}  // namespace gradus::cuda
