// JSON that others wrote: looked over in linear time and bounded memory before a value is made of it, so that no later
// walk over the value (printing, comparing, destroying) can run out of stack.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace gradus::io {

/// Objects and lists inside each other; the bound of the safetensors reference.
inline constexpr int deepest_json = 127;

/// Throws DataError, beginning with `what`, where `text` is not exactly one JSON value, begins with a byte order mark,
/// holds a NUL, nests deeper than deepest_json, or has a key twice in one object.
void require_json(std::string_view text, const std::string& what);

/// The value of `text`, as nlohmann::json or, with the order of keys kept, nlohmann::ordered_json. Throws as require_json.
template <class Json = nlohmann::json>
Json parse_json(std::string_view text, const std::string& what) {
  require_json(text, what);
  return Json::parse(text);
}

/// A value as text for a message: whatever bytes its strings hold, and never longer than a line.
std::string brief(const nlohmann::json& value);

/// What an exception of the library says, without its number.
std::string reason_of(const nlohmann::json::exception& error);

/// 'name', for a message, with the same care.
std::string in_quotes(const std::string& name);

}  // namespace gradus::io
