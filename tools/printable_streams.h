// The last thing between foreign text and the terminal.
#pragma once

namespace gradus::tools {

/// From now on std::cout and std::cerr write controls as visible escapes (framework/base/printable.h), but for newlines
/// and tabs. Where a name could fake a line or a column, whoever prints it escapes it before.
void make_standard_streams_printable();

}  // namespace gradus::tools
