// Where in the user's code an op was called: captured by default arguments, printed as `models/gpt/gpt.cpp:88`.
#pragma once

#include <source_location>
#include <string>

namespace gradus {

using SourceLocation = std::source_location;

/// `file:line`, with the path relative to the root of this project where the file lies in it.
std::string to_string(const SourceLocation& where);

}  // namespace gradus
