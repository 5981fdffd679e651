// Kernels with one planted defect each, and what must be heard of it in each build (docs/cuda-emulation.md has the
// table).
#pragma once

#include <string>
#include <vector>

#include "framework/kernels/cuda/emulation/settings.h"
#include "tests/cuda/buffer.h"

namespace planted {

/// Part of what a run says: "wrong result", a sentence of the emulation, or a sanitizer's report. Null: this build is
/// not asked.
struct Heard {
  const char* plain = nullptr;    // under each of six schedules
  const char* address = nullptr;  // AddressSanitizer and UndefinedBehaviorSanitizer
  const char* thread = nullptr;   // ThreadSanitizer
};

struct Case {
  const char* kernel;
  const char* what;  // is wrong; null: nothing, and no build may say anything
  Heard heard;
  bool (*run)();  // whether the result is right
};

std::vector<Case> memory_cases();
std::vector<Case> thread_cases();
std::vector<Case> launch_cases();

/// Whether y holds f(i) everywhere. NaN is never right.
template <class T, class Function>
bool holds(const Buffer<T>& y, const Function& f) {
  const auto values = y.values();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!(values[i] == f(static_cast<int>(i)))) return false;
  }
  return true;
}

}  // namespace planted
