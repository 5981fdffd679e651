// What foreign text becomes before it is printed: tensor names, metadata, corpora, answers, arguments, messages of
// libraries. No control character of theirs reaches a terminal.
#pragma once

#include <string>
#include <string_view>

namespace gradus {

/// `text` with controls (unicode.h) and bytes that are not UTF-8 written as visible escapes: `\n`, `\r`, `\t`,
/// `\u001b`, and `\xff` for a byte. All else is unchanged, a backslash too; what is printable stays as it is when it is
/// escaped again. Inside a JSON string, the escapes of characters mean the characters. `kept`: controls that stay.
std::string printable(std::string_view text, std::string_view kept = "");

}  // namespace gradus
