// The devices that a program links: each has one of devices_*.cpp.
#pragma once

namespace gradus::tools {

/// To be called once, before a device is named.
void install_devices();

}  // namespace gradus::tools
