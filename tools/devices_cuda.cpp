#include "framework/ops/cuda/backend.h"
#include "tools/devices.h"

namespace gradus::tools {

void install_devices() { install_cuda(); }

}  // namespace gradus::tools
