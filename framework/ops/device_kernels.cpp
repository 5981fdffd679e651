#include "framework/ops/device_kernels.h"

#include <unordered_map>

namespace gradus {
namespace {

std::unordered_map<const OpSpec*, DeviceKernels>& cuda_kernels() {
  static std::unordered_map<const OpSpec*, DeviceKernels> kernels;
  return kernels;
}

}  // namespace

void install_kernels(Device::Kind kind, const OpSpec& spec, DeviceKernels kernels) {
  if (kind == Device::Kind::cpu) fail("[{}] the kernels of the CPU are in the record", spec.name);
  cuda_kernels().insert_or_assign(&spec, std::move(kernels));
}

const DeviceKernels& kernels_of(const OpSpec& spec, Device device) {
  if (device.kind == Device::Kind::cpu || spec.is_view || spec.serves_every_device) return spec.cpu;
  const auto found = cuda_kernels().find(&spec);
  if (found == cuda_kernels().end()) fail("[{}] has no kernel for {}", spec.name, to_string(device));
  return found->second;
}

}  // namespace gradus
