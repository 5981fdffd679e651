#include "framework/base/source_location.h"

#include <string_view>

#include <fmt/format.h>

namespace gradus {

std::string to_string(const SourceLocation& where) {
  constexpr std::string_view this_file = __FILE__;
  constexpr std::string_view this_file_in_project = "framework/base/source_location.cpp";
  constexpr std::string_view root = this_file.substr(0, this_file.size() - this_file_in_project.size());
  std::string_view file = where.file_name();
  if (file.starts_with(root)) file.remove_prefix(root.size());
  return fmt::format("{}:{}", file, where.line());
}

}  // namespace gradus
