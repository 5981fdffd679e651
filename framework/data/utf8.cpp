#include "framework/data/utf8.h"

#include <algorithm>

#include "framework/base/error.h"

namespace gradus::data {

std::u32string decode_utf8(std::string_view bytes, const std::string& origin) {
  std::u32string characters;
  characters.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    const int length = lead < 0x80 ? 1 : lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
    char32_t character = length == 1 ? lead : lead & (0x7F >> std::max(length, 1));
    bool valid = length > 0 && i + length <= bytes.size();
    for (int k = 1; valid && k < length; ++k) {
      const auto next = static_cast<unsigned char>(bytes[i + k]);
      valid = (next & 0xC0) == 0x80;
      character = (character << 6) | (next & 0x3F);
    }
    valid = valid && !(length == 3 && (character < 0x800 || (character >= 0xD800 && character < 0xE000))) &&
            !(length == 4 && (character < 0x10000 || character > 0x10FFFF));
    if (!valid) {
      const auto line = 1 + std::count(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(i), '\n');
      fail<DataError>("{}: line {}: invalid UTF-8 at byte {}", origin, line, i);
    }
    characters.push_back(character);
    i += length;
  }
  return characters;
}

std::string encode_utf8(char32_t character) {
  const auto byte = [](char32_t value) { return static_cast<char>(value); };
  if (character < 0x80) return {byte(character)};
  if (character < 0x800) return {byte(0xC0 | character >> 6), byte(0x80 | (character & 0x3F))};
  if (character < 0x10000) {
    return {byte(0xE0 | character >> 12), byte(0x80 | (character >> 6 & 0x3F)), byte(0x80 | (character & 0x3F))};
  }
  return {byte(0xF0 | character >> 18), byte(0x80 | (character >> 12 & 0x3F)), byte(0x80 | (character >> 6 & 0x3F)), byte(0x80 | (character & 0x3F))};
}

std::string encode_utf8(std::u32string_view characters) {
  std::string bytes;
  for (char32_t character : characters) bytes += encode_utf8(character);
  return bytes;
}

std::string describe_character(char32_t character) {
  if (character < 0x20 || (character >= 0x7F && character < 0xA0)) return fmt::format("U+{:04X}", static_cast<std::uint32_t>(character));
  return fmt::format("'{}' (U+{:04X})", encode_utf8(character), static_cast<std::uint32_t>(character));
}

}  // namespace gradus::data
