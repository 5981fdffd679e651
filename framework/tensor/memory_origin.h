// On whose behalf a thread allocates memory: what the report of a full device names.
#pragma once

#include <string_view>

#include "framework/base/source_location.h"

namespace gradus {

struct MemoryOrigin {
  std::string_view op;  ///< empty: outside of ops
  SourceLocation where = {};
  bool backward = false;
};

const MemoryOrigin& memory_origin();

/// The origin of what the thread allocates while it lives, if there is none yet: of an op made of ops, the outer one is
/// what the user called. The name must outlive the scope. An empty origin is always taken: what follows begins anew.
class MemoryOriginScope {
 public:
  explicit MemoryOriginScope(const MemoryOrigin& origin);
  ~MemoryOriginScope();
  MemoryOriginScope(const MemoryOriginScope&) = delete;
  MemoryOriginScope& operator=(const MemoryOriginScope&) = delete;

 private:
  MemoryOrigin before_;
};

}  // namespace gradus
