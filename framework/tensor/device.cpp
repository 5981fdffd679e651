#include "framework/tensor/device.h"

#include <fmt/format.h>

#include "framework/base/error.h"

namespace gradus {

std::string to_string(Device device) {
  return device == Device{} ? "cpu"
                            : fmt::format("{}:{}", device.kind == Device::Kind::cpu ? "cpu" : "cuda", device.index);
}

Device device_from_string(std::string_view name) {
  if (name == "cpu" || name == "auto") return {};
  if (name.starts_with("cuda")) fail<UsageError>("device '{}': this program was not built with CUDA; it has: cpu", name);
  fail<UsageError>("unknown device '{}': expected auto or cpu", name);
}

}  // namespace gradus
