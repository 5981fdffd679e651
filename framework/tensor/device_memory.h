// The memory of devices beside the CPU. A backend installs its own; without one the device is refused with a sentence.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "framework/base/dtype.h"
#include "framework/tensor/device.h"

namespace gradus {

/// In bytes; no total: unknown.
struct MemoryRoom {
  std::int64_t free = 0, total = 0;
};

/// Work that is recorded and then queued again and again, such as CUDA graphs.
struct DeviceGraphs {
  std::function<void()> begin;  ///< what is queued from here on is recorded and not done
  std::function<std::shared_ptr<void>()> end;  ///< when it goes, it waits for what is queued; that does not throw
  std::function<void(const std::shared_ptr<void>& graph)> queue;
};

struct DeviceMemory {
  bool emulated = false;       ///< `auto` does not choose such a device
  bool caching = true;         ///< as in MemorySource: kernels and copies run in the order in which they are queued
  std::function<int()> count;  ///< devices of the kind that can be used
  std::function<std::string()> why_none = {};
  std::function<std::string(int index)> name = {};  ///< `NVIDIA H200, products by cuBLASLt 13.1.0`
  /// Not initialised, aligned to 256 bytes; null where there is not enough.
  std::function<void*(std::int64_t bytes, int index)> allocate;
  /// Waits for what is queued, which may use the block; does not throw.
  std::function<void(void* block, int index)> release;
  std::function<MemoryRoom(int index)> room;
  std::function<void(int index)> synchronize = {};
  /// Done, as far as the host can see, when it returns: `from` may change, `to` can be read. One of the two devices may
  /// be the CPU.
  std::function<void(void* to, Device to_device, const void* from, Device from_device, std::int64_t bytes)> copy;
  /// Each of `count` elements, contiguous, gets the value.
  std::function<void(void* to, DType dtype, std::int64_t count, double value)> fill;
  DeviceGraphs graphs = {};
};

void install_device_memory(Device::Kind kind, DeviceMemory memory);

/// Throws UsageError that lists the devices there are.
const DeviceMemory& device_memory(Device device);

}  // namespace gradus
