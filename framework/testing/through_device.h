// An op's kernels on a device, seen as a record of the CPU: so every suite and the gradient checker hold for them too.
#pragma once

#include "framework/ops/op_spec.h"

namespace gradus::testing {

/// The record with kernels that bring the inputs to `device`, run `spec` there, forward or backward, and bring the
/// results back. `spec` must outlive it.
OpSpec through_device(const OpSpec& spec, Device device);

}  // namespace gradus::testing
