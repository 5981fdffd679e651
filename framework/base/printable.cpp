#include "framework/base/printable.h"

#include <fmt/format.h>

#include <cstdint>

#include "framework/base/unicode.h"

namespace gradus {
namespace {

std::string escape_of(char32_t control) {
  switch (control) {
    case U'\n': return "\\n";
    case U'\r': return "\\r";
    case U'\t': return "\\t";
    default: return fmt::format("\\u{:04x}", static_cast<std::uint32_t>(control));
  }
}

}  // namespace

std::string printable(std::string_view text, std::string_view kept) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto [character, length] = utf8_character_at(text, at);
    if (length == 0) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at]));
      ++at;
      continue;
    }
    const bool stays = length == 1 && kept.find(text[at]) != std::string_view::npos;
    if (is_control(character) && !stays) result += escape_of(character);
    else result += text.substr(at, length);
    at += length;
  }
  return result;
}

}  // namespace gradus
