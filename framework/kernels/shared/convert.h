// Numbers of one dtype as numbers of another.
#pragma once

#include <type_traits>

#include "framework/base/bfloat16.h"

namespace gradus::functions {

/// Float to integer truncates; anything to bool is `!= 0`.
template <class To, class From>
GRADUS_HOST_DEVICE To convert(From value) {
  if constexpr (std::is_same_v<To, From>) return value;
  else if constexpr (std::is_same_v<From, bfloat16>) return convert<To>(static_cast<float>(value));
  else if constexpr (std::is_same_v<To, bfloat16>) return bfloat16(static_cast<float>(value));
  else return static_cast<To>(value);
}

}  // namespace gradus::functions
