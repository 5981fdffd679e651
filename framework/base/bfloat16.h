// bfloat16, for host and device.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "framework/base/host_device.h"

namespace gradus {

/// Brain floating point: the upper 16 bits of an IEEE float. A storage type: arithmetic is done in f32.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  // Spelled out: GCC vectorises the copying of a number, not of a struct.
  GRADUS_HOST_DEVICE bfloat16(const bfloat16& other) : bits(other.bits) {}
  GRADUS_HOST_DEVICE bfloat16& operator=(const bfloat16& other) {
    bits = other.bits;
    return *this;
  }
  /// Rounds to nearest, ties to even; NaN stays NaN.
  GRADUS_HOST_DEVICE explicit bfloat16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const bool nan = (word & 0x7fffffffu) > 0x7f800000u;
    bits = nan ? static_cast<std::uint16_t>((word >> 16) | 0x40u)
               : static_cast<std::uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
  }
  GRADUS_HOST_DEVICE explicit bfloat16(double value) : bfloat16(static_cast<float>(value)) {}
  GRADUS_HOST_DEVICE explicit bfloat16(std::int64_t value) : bfloat16(static_cast<float>(value)) {}
  GRADUS_HOST_DEVICE explicit operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
  GRADUS_HOST_DEVICE explicit operator double() const { return static_cast<float>(*this); }
};

/// What elements of type T are computed in: f32 for bf16.
template <class T>
using Arithmetic = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;

}  // namespace gradus
