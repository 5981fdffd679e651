// What is said where memory is full.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/tensor/memory_origin.h"

namespace gradus {

/// A block in use.
struct MemoryUse {
  MemoryOrigin origin;
  std::int64_t bytes = 0;
};

/// `1,234 MiB`, `1.5 MiB`, `12 KiB`, `100 bytes`.
std::string readable_bytes(std::int64_t bytes);

/// `[matmul] at models/gpt/gpt.cpp:88`, with `, backward` where it is so; `code outside of ops`.
std::string to_string(const MemoryOrigin& origin);

/// The origins that hold most, eight at most, each with its bytes and blocks, and the rest as one.
std::string memory_table(const std::vector<MemoryUse>& uses);

/// How to get by with less.
std::string memory_advice();

}  // namespace gradus
