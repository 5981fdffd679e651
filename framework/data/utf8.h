// UTF-8 to code points and back, strictly.
#pragma once

#include <string>
#include <string_view>

#include "framework/base/unicode.h"

namespace gradus::data {

/// Throws DataError `ORIGIN: line 3: invalid UTF-8 at byte 117` for overlong, surrogate, truncated or stray bytes.
std::u32string decode_utf8(std::string_view bytes, const std::string& origin);
std::string encode_utf8(std::u32string_view characters);
using gradus::encode_utf8;  // of one character

/// `'é' (U+00E9)`; control characters by number only.
std::string describe_character(char32_t character);

}  // namespace gradus::data
