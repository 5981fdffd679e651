#include "framework/kernels/cuda/emulation/settings.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "framework/base/error.h"

namespace gradus::cuda::emulation {
namespace {

std::uint64_t number_from_environment(const char* name, std::uint64_t most) {
  const char* text = std::getenv(name);
  if (!text) return 0;
  const std::string_view digits = text;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number > most) {
    fail<UsageError>("{}={}: a number from 0 to {} is expected", name, digits, most);
  }
  return number;
}

}  // namespace

Settings settings_from_environment() {
  return {.schedule = number_from_environment("GRADUS_CUDA_SCHEDULE", ~std::uint64_t{0}),
          .deferred = number_from_environment("GRADUS_CUDA_DEFERRED", 1) != 0};
}

Settings& settings() {
  static Settings current = settings_from_environment();
  return current;
}

}  // namespace gradus::cuda::emulation
