#include "framework/tensor/capture.h"

namespace gradus {
namespace {
thread_local Capture* current = nullptr;
}

Capture* current_capture() { return current; }

CaptureScope::CaptureScope(Capture& capture) {
  if (current) fail("a step is recorded inside another one that is recorded");
  current = &capture;
}
CaptureScope::~CaptureScope() { current = nullptr; }

}  // namespace gradus
