// The shape of a kernel launch, and the limits that it must keep on every device.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <source_location>

struct CUstream_st;

namespace gradus::cuda {

/// A queue of launches and copies that run one after another; null is the default stream.
using Stream = CUstream_st*;

/// Sizes along x, y and z. 64 bits wide, so that a size beyond the limits is refused and not cut to 32 bits.
struct Extent {
  std::int64_t x = 1, y = 1, z = 1;

  constexpr Extent(std::integral auto x_, std::int64_t y_ = 1, std::int64_t z_ = 1)
      : x(static_cast<std::int64_t>(x_)), y(y_), z(z_) {}
};

/// launch<kernel>({.blocks = 20, .threads = 128}, arguments...)
struct LaunchShape {
  Extent blocks;
  Extent threads;                // of one block
  std::size_t shared_bytes = 0;  // for dynamic_shared<T>()
  Stream stream = nullptr;
  std::source_location where = std::source_location::current();
};

inline constexpr std::int64_t most_threads = 1024;
inline constexpr std::size_t most_shared_bytes = 227 * 1024;  // compute capability 9.0; 163 KiB on 8.0

/// Blocks of `threads` that cover `elements`.
constexpr std::int64_t blocks_for(std::int64_t elements, std::int64_t threads) {
  return (elements + threads - 1) / threads;
}

/// Throws ContractError with the kernel's name, place and the limit, if no device could start such a launch. `kernel`
/// is what kernel_name() reads a name from.
void check_launch(const char* kernel, const LaunchShape& shape);

// For launch() on a device; runtime.cpp has them. What the CUDA runtime refuses is thrown.
void allow_shared_bytes(const void* kernel, std::size_t bytes);
void check_launched(const char* kernel, const LaunchShape& shape);

}  // namespace gradus::cuda
