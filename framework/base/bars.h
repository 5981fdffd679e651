// Curves in a line of text.
#pragma once

#include <string>
#include <vector>

namespace gradus {

/// Whether the locale's text is UTF-8, by LC_ALL, else LC_CTYPE, else LANG.
bool locale_is_utf8();

/// A bar for each level from 1 to 8, `▁▂▃▄▅▆▇█`, or `.:-=+*#@` where the locale is not UTF-8; a blank for level 0.
std::string bars(const std::vector<int>& levels);

}  // namespace gradus
