// UTF-8, one character at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gradus {

struct Utf8Character {
  char32_t code = 0;
  std::size_t length = 0;  ///< bytes that it takes; 0 where the bytes are not UTF-8
};

/// The character whose bytes begin at `at`. Overlong, surrogate, truncated and stray bytes are no character.
Utf8Character utf8_character_at(std::string_view bytes, std::size_t at);

std::string encode_utf8(char32_t character);

/// Whether a terminal would obey the character instead of showing it, or take it for the end of a line: the controls
/// (C0, DEL, C1), the line and the paragraph separator, and what turns the direction of writing.
bool is_control(char32_t character);

}  // namespace gradus
