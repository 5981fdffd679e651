#include "tools/devices.h"

namespace gradus::tools {

void install_devices() {}

}  // namespace gradus::tools
