// Which kernels run an op on which device. The CPU's are in the record; a backend installs its own beside it.
#pragma once

#include "framework/ops/op_spec.h"

namespace gradus {

/// Kernels of `spec` for devices of a kind other than the CPU.
void install_kernels(Device::Kind kind, const OpSpec& spec, DeviceKernels kernels);

/// Throws ContractError naming op and device where there are none.
const DeviceKernels& kernels_of(const OpSpec& spec, Device device);

}  // namespace gradus
