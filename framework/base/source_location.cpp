#include "framework/base/source_location.h"

#include <string_view>

#include <fmt/format.h>

namespace gradus {

std::string to_string(const SourceLocation& where) {
  constexpr std::string_view root = GRADUS_SOURCE_DIR "/";
  std::string_view file = where.file_name();
  if (file.starts_with(root)) file.remove_prefix(root.size());
  while (file.starts_with("../")) file.remove_prefix(3);  // a compiler cache gives paths relative to the build folder
  return fmt::format("{}:{}", file, where.line());
}

}  // namespace gradus
