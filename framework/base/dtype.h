// Element types, and the dispatch from a run-time DType to a C++ type.
#pragma once

#include <cstdint>
#include <string_view>

#include "framework/base/bfloat16.h"
#include "framework/base/error.h"

namespace gradus {

enum class DType : std::uint8_t { f64, f32, bf16, i64, i32, u8, boolean };

std::int64_t size_in_bytes(DType dtype);
std::string_view to_string(DType dtype);
/// Parses `f64`, `f32`, `bf16`, `i64`, `i32`, `u8`, `bool`; throws UsageError naming the choices.
DType dtype_from_string(std::string_view name);

inline bool is_floating(DType dtype) { return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::bf16; }

template <class T>
struct DTypeOf;
template <> struct DTypeOf<double> { static constexpr DType value = DType::f64; };
template <> struct DTypeOf<float> { static constexpr DType value = DType::f32; };
template <> struct DTypeOf<bfloat16> { static constexpr DType value = DType::bf16; };
template <> struct DTypeOf<std::int64_t> { static constexpr DType value = DType::i64; };
template <> struct DTypeOf<std::int32_t> { static constexpr DType value = DType::i32; };
template <> struct DTypeOf<std::uint8_t> { static constexpr DType value = DType::u8; };
template <> struct DTypeOf<bool> { static constexpr DType value = DType::boolean; };
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// Calls `function.template operator()<T>()` with the C++ type of `dtype`.
template <class Function>
decltype(auto) visit_dtype(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::f64: return function.template operator()<double>();
    case DType::f32: return function.template operator()<float>();
    case DType::bf16: return function.template operator()<bfloat16>();
    case DType::i64: return function.template operator()<std::int64_t>();
    case DType::i32: return function.template operator()<std::int32_t>();
    case DType::u8: return function.template operator()<std::uint8_t>();
    case DType::boolean: return function.template operator()<bool>();
  }
  fail("invalid dtype {}", static_cast<int>(dtype));
}

/// The same for the types of kernels that read and write bf16 themselves, computing in Arithmetic<T>.
template <class Function>
decltype(auto) visit_floating_dtype(DType dtype, Function&& function) {
  if (dtype == DType::f64) return function.template operator()<double>();
  if (dtype == DType::f32) return function.template operator()<float>();
  if (dtype == DType::bf16) return function.template operator()<bfloat16>();
  fail("no CPU kernel computes in {}: cast to a floating dtype first", to_string(dtype));
}

/// The same for the types that all kernels compute in: f64 and f32. Others are refused with a sentence.
template <class Function>
decltype(auto) visit_compute_dtype(DType dtype, Function&& function) {
  if (dtype == DType::f64) return function.template operator()<double>();
  if (dtype == DType::f32) return function.template operator()<float>();
  fail("no CPU kernel computes in {}: cast to f32 or f64 first", to_string(dtype));
}

}  // namespace gradus
