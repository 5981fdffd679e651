#include "framework/tensor/device.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "framework/base/error.h"
#include "framework/tensor/device_memory.h"

namespace gradus {
namespace {

std::optional<DeviceMemory>& cuda_memory() {
  static std::optional<DeviceMemory> memory;
  return memory;
}

int cuda_devices() { return cuda_memory() ? cuda_memory()->count() : 0; }

std::string available() {
  std::string names = "cpu";
  for (int index = 0; index < cuda_devices(); ++index) names += fmt::format(", cuda:{}", index);
  return names;
}

void require_usable(Device device, std::string_view name) {
  if (device.kind == Device::Kind::cpu) return;
  if (!cuda_memory()) {
    fail<UsageError>("device '{}': this program was not built with CUDA; it has: {}", name, available());
  }
  if (device.index < 0 || device.index >= cuda_devices()) {
    const std::string why = cuda_devices() == 0 && cuda_memory()->why_none ? cuda_memory()->why_none() : "";
    fail<UsageError>("device '{}' is not there{}; there are: {}", name, why.empty() ? "" : " (" + why + ")",
                     available());
  }
}

}  // namespace

std::string to_string(Device device) {
  return device.kind == Device::Kind::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

std::string describe(Device device) {
  if (device.kind == Device::Kind::cpu) return to_string(device);
  const DeviceMemory& memory = device_memory(device);
  return memory.name ? fmt::format("{}, {}", to_string(device), memory.name(device.index)) : to_string(device);
}

void synchronize(Device device) {
  if (device.kind == Device::Kind::cpu) return;
  const DeviceMemory& memory = device_memory(device);
  if (memory.synchronize) memory.synchronize(device.index);
}

Device device_from_string(std::string_view name) {
  if (name == "cpu") return {};
  if (name == "auto") {
    return cuda_devices() > 0 && !cuda_memory()->emulated ? Device{Device::Kind::cuda, 0} : Device{};
  }
  Device device{Device::Kind::cuda, 0};
  if (name.starts_with("cuda:")) {
    const std::string_view number = name.substr(5);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), device.index);
    if (error != std::errc{} || end != number.data() + number.size() || device.index < 0)
      fail<UsageError>("unknown device '{}': a number from 0 on, of at most nine digits, must follow cuda:", name);
  } else if (name != "cuda") {
    fail<UsageError>("unknown device '{}': expected auto, cpu, cuda or cuda:N", name);
  }
  require_usable(device, name);
  return device;
}

void install_device_memory(Device::Kind kind, DeviceMemory memory) {
  if (kind == Device::Kind::cpu) fail("the CPU has its memory already");
  cuda_memory() = std::move(memory);
}

const DeviceMemory& device_memory(Device device) {
  if (device.kind == Device::Kind::cpu) fail("the memory of the CPU is the allocator's");
  require_usable(device, to_string(device));
  return *cuda_memory();
}

}  // namespace gradus
