#include "framework/data/utf8.h"

#include <algorithm>

#include "framework/base/error.h"

namespace gradus::data {

std::u32string decode_utf8(std::string_view bytes, const std::string& origin) {
  std::u32string characters;
  characters.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const auto [character, length] = utf8_character_at(bytes, at);
    if (length == 0) {
      const auto line = 1 + std::count(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at), '\n');
      fail<DataError>("{}: line {}: invalid UTF-8 at byte {}", origin, line, at);
    }
    characters.push_back(character);
    at += length;
  }
  return characters;
}

std::string encode_utf8(std::u32string_view characters) {
  std::string bytes;
  for (char32_t character : characters) bytes += encode_utf8(character);
  return bytes;
}

std::string describe_character(char32_t character) {
  const std::string number = fmt::format("U+{:04X}", static_cast<std::uint32_t>(character));
  return is_control(character) ? number : fmt::format("'{}' ({})", encode_utf8(character), number);
}

}  // namespace gradus::data
