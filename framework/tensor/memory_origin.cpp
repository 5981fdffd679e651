#include "framework/tensor/memory_origin.h"

namespace gradus {
namespace {
constinit thread_local MemoryOrigin current = {};
}

const MemoryOrigin& memory_origin() { return current; }

MemoryOriginScope::MemoryOriginScope(const MemoryOrigin& origin) : before_(current) {
  if (before_.op.empty() || origin.op.empty()) current = origin;
}
MemoryOriginScope::~MemoryOriginScope() { current = before_; }

}  // namespace gradus
