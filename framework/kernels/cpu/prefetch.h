// Asking for data ahead of their use.
#pragma once

#include <cstdint>

namespace gradus::cpu {

/// Asks for elements first..first+count-1 of `data`, to which a loop will come. One with much arithmetic to an element
/// reaches its next cache line late, and the processor alone does not look far enough ahead to hide the way to memory. They
/// may lie behind the end.
template <class T>
inline void prefetch(const T* data, std::int64_t first, std::int64_t count) {
  constexpr std::uintptr_t cache_line = 64;
  const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(data) + first * sizeof(T);
  for (std::uintptr_t address = begin; address < begin + count * sizeof(T); address += cache_line)
    __builtin_prefetch(reinterpret_cast<const void*>(address));
}

}  // namespace gradus::cpu
