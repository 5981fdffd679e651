// How launches are emulated, for tests.
#pragma once

#include <cstdint>

namespace gradus::cuda::emulation {

struct Settings {
  /// In which order threads run: 0 in order, 1 reversed, n a random order that is drawn anew at every barrier.
  std::uint64_t schedule = 0;
  /// Launches and copies wait in their stream until it is synchronised, as they may on a device.
  bool deferred = false;
  /// ThreadSanitizer takes what two blocks do for ordered, which no device promises.
  bool ordered_blocks = false;
  /// As many are there; they have one memory.
  int devices = 1;
};

/// GRADUS_CUDA_SCHEDULE, a number, and GRADUS_CUDA_DEFERRED, 0 or 1. Throws UsageError if they are something else.
Settings settings_from_environment();

/// Those in force; at first those of the environment.
Settings& settings();

/// Settings while it lives.
class SettingsScope {
 public:
  explicit SettingsScope(const Settings& inside) : outside_(settings()) { settings() = inside; }
  ~SettingsScope() { settings() = outside_; }
  SettingsScope(const SettingsScope&) = delete;
  SettingsScope& operator=(const SettingsScope&) = delete;

 private:
  Settings outside_;
};

}  // namespace gradus::cuda::emulation
