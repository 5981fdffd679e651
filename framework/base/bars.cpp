#include "framework/base/bars.h"

#include <strings.h>

#include <cstdlib>
#include <cstring>

namespace gradus {

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* locale = std::getenv(name);
    if (!locale || !*locale) continue;
    const char* encoding = std::strchr(locale, '.');
    return encoding && (::strncasecmp(encoding, ".utf-8", 6) == 0 || ::strncasecmp(encoding, ".utf8", 5) == 0);
  }
  return false;
}

std::string bars(const std::vector<int>& levels) {
  static constexpr const char* blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static constexpr char ascii[] = " .:-=+*#@";
  const bool unicode = locale_is_utf8();
  std::string drawn;
  for (const int level : levels) {
    if (unicode) drawn += blocks[level];
    else drawn += ascii[level];
  }
  return drawn;
}

}  // namespace gradus
