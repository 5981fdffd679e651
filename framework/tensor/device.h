// Where a tensor's elements live. The CPU is always there; CUDA only in builds that have it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gradus {

struct Device {
  enum class Kind : std::uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
};

/// `cpu`, `cuda:0`.
std::string to_string(Device device);

/// With what it is and computes with: `cuda:0, NVIDIA H200, products by cuBLASLt 13.1.0`.
std::string describe(Device device);

/// Returns when the device has done all that was asked of it. For clocks: whoever reads a tensor need not wait.
void synchronize(Device device);

/// Parses `auto`, `cpu`, `cuda`, `cuda:N`. Throws UsageError that lists the devices of this build.
Device device_from_string(std::string_view name);

}  // namespace gradus
