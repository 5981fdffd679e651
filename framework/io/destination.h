// Where a file goes that is written to a path.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace gradus::io {

/// A file that is there already.
struct Existing {
  uid_t owner;
  gid_t group;
  mode_t mode;
};

struct Destination {
  std::string path;                  ///< where the symbolic links of the path given lead: a file, or none yet
  std::string obstacle;              ///< why no file can be put there, whatever its folder allows: "is a folder"; else empty
  std::optional<Existing> existing;  ///< the file there
};

/// Follows the links of the last part of `path`, if they belong to this user or to the owner of their folder. Touches
/// nothing.
Destination destination_of(const std::string& path);

/// The folder of a file, "." for a name alone.
std::string folder_of(const std::string& path);

}  // namespace gradus::io
