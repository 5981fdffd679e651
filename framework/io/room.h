// Is there room for what a run is going to write?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gradus::io {

/// A file written atomically: what is there before goes only when it is whole.
struct PlannedWrite {
  std::string path;
  std::int64_t bytes = 0;
};

/// Why these writes, in this order, do not all fit into what is free now, a sentence for each file system:
/// "m.checkpoint and m need 40.0 MiB, 12.0 MiB are free in /data". None where they fit, or the system does not say.
std::vector<std::string> lacking_room(const std::vector<PlannedWrite>& writes);

/// Which of these files would grow beyond the process's limit (ulimit -f), a sentence for each.
std::vector<std::string> beyond_size_limit(const std::vector<PlannedWrite>& writes);

}  // namespace gradus::io
