// What becomes of foreign text before it is printed.
#include "framework/base/printable.h"

#include <doctest/doctest.h>

#include "framework/base/unicode.h"

using gradus::printable;

TEST_CASE("text without controls stays as it is, byte for byte") {
  for (const std::string text : {"", "plain", "back\\slash \\n", "Cornélie ⁇□ 野 😀", "no-break space", "e\u0301",
                                 "right\u200eto left mark", "\u00ad", "\ufeff", "\U0010FFFF"}) {
    CHECK(printable(text) == text);
  }
}

TEST_CASE("controls become visible") {
  CHECK(printable("a\nb\rc\td") == "a\\nb\\rc\\td");
  CHECK(printable("\x1b[2J\x1b]0;title\x07") == "\\u001b[2J\\u001b]0;title\\u0007");
  CHECK(printable(std::string("a\0b", 3)) == "a\\u0000b");
  CHECK(printable("\x7f") == "\\u007f");
  CHECK(printable("\u0085\u009b31m") == "\\u0085\\u009b31m");
  CHECK(printable("\u2028\u2029") == "\\u2028\\u2029");
  CHECK(printable("\u202a\u202e\u2066\u2069") == "\\u202a\\u202e\\u2066\\u2069");
}

TEST_CASE("bytes that are not UTF-8 become visible, one by one") {
  CHECK(printable("caf\xe9") == "caf\\xe9");
  CHECK(printable("\x9b[31m") == "\\x9b[31m");            // C1 as a terminal of 8 bits reads it
  CHECK(printable("\xc0\x9b") == "\\xc0\\x9b");           // overlong
  CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate
  CHECK(printable("cut \xe9\x87") == "cut \\xe9\\x87");
  CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
}

TEST_CASE("controls that are asked for stay") {
  CHECK(printable("a\n\tb\r", "\n\t") == "a\n\tb\\r");
  CHECK(printable("a\nb\tc", "\n") == "a\nb\\tc");
}

TEST_CASE("what is printable stays so, and no byte of any character is a control") {
  for (char32_t character = 0; character <= 0x10FFFF; ++character) {
    if (character >= 0xD800 && character < 0xE000) continue;
    const std::string shown = printable(gradus::encode_utf8(character));
    REQUIRE(printable(shown) == shown);
    const bool escaped = shown != gradus::encode_utf8(character);
    REQUIRE(escaped == gradus::is_control(character));
    if (escaped) REQUIRE(shown[0] == '\\');
  }
}

TEST_CASE("of any bytes, what is left is UTF-8 without controls") {
  std::uint32_t state = 1;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (int i = 0; i < 12; ++i) {
      state = state * 1664525 + 1013904223;
      const std::uint32_t drawn = state >> 16;
      bytes += static_cast<char>(drawn % 3 == 0 ? 0x80 + drawn / 3 % 0x40 : drawn / 3);
    }
    const std::string shown = printable(bytes);
    for (std::size_t at = 0; at < shown.size();) {
      const auto [character, length] = gradus::utf8_character_at(shown, at);
      REQUIRE(length > 0);
      REQUIRE_FALSE(gradus::is_control(character));
      at += length;
    }
  }
}
