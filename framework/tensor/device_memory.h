// The memory of devices beside the CPU. A backend installs its own; without one the device is refused with a sentence.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "framework/tensor/device.h"

namespace gradus {

struct DeviceMemory {
  bool emulated = false;       ///< `auto` does not choose such a device
  std::function<int()> count;  ///< devices of the kind that can be used
  std::function<std::string()> why_none = {};
  std::function<std::string(int index)> name = {};  ///< `NVIDIA H200`
  /// Not initialised, aligned to 256 bytes; throws where there is not enough.
  std::function<void*(std::int64_t bytes, int index)> allocate;
  std::function<void(void* block, int index)> release;
  /// Done, as far as the host can see, when it returns. One of the two devices may be the CPU.
  std::function<void(int index)> synchronize = {};
  std::function<void(void* to, Device to_device, const void* from, Device from_device, std::int64_t bytes)> copy;
};

void install_device_memory(Device::Kind kind, DeviceMemory memory);

/// Throws UsageError that lists the devices there are.
const DeviceMemory& device_memory(Device device);

}  // namespace gradus
