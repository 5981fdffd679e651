#include "framework/train/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdlib>
#include <cstring>
#include <cwchar>

namespace gradus::train {
namespace {

/// Lets the C library read UTF-8 on this thread for a while, whatever the user's locale.
class Utf8Scope {
 public:
  Utf8Scope() : before_(::uselocale(locale())) {}
  ~Utf8Scope() { ::uselocale(before_); }
  Utf8Scope(const Utf8Scope&) = delete;
  Utf8Scope& operator=(const Utf8Scope&) = delete;

 private:
  static locale_t locale() {
    static const locale_t utf8 = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    return utf8 ? utf8 : LC_GLOBAL_LOCALE;
  }
  locale_t before_;
};

struct Character {
  std::size_t bytes;
  std::int64_t columns;
};

/// The first character of a text that is not empty, read in a Utf8Scope.
Character first_of(std::string_view text) {
  wchar_t character = 0;
  std::mbstate_t state{};
  const std::size_t bytes = std::mbrtowc(&character, text.data(), text.size(), &state);
  if (bytes == 0 || bytes > text.size()) return {1, 1};
  return {bytes, std::max(0, ::wcwidth(character))};
}

/// The beginning of a text that `columns` hold.
std::string cut(std::string_view text, std::int64_t columns) {
  const Utf8Scope utf8;
  std::size_t end = 0;
  while (end < text.size()) {
    const Character next = first_of(text.substr(end));
    if ((columns -= next.columns) < 0) break;
    end += next.bytes;
  }
  return std::string(text.substr(0, end));
}

std::string joined(const std::vector<LinePart>& parts) {
  std::string line;
  for (const LinePart& part : parts) line += (line.empty() ? "" : "  ") + part.text;
  return line;
}

/// One line, without its newline.
std::string wrapped_line(std::string_view line, std::int64_t columns) {
  const std::size_t indentation = std::min(line.find_first_not_of(' '), line.size());
  const std::string break_of_line = "\n" + std::string(indentation + 2, ' ');
  std::string text(line.substr(0, indentation));
  std::int64_t used = static_cast<std::int64_t>(indentation);
  bool at_beginning = true;
  for (std::size_t at = indentation; at < line.size();) {
    const std::size_t word_begin = std::min(line.find_first_not_of(' ', at), line.size());
    const std::size_t word_end = std::min(line.find(' ', word_begin), line.size());
    const std::string_view word = line.substr(word_begin, word_end - word_begin);
    const std::int64_t blanks = static_cast<std::int64_t>(word_begin - at), width = columns_of(word);
    if (!at_beginning && used + blanks + width > columns) {
      text += break_of_line;
      used = static_cast<std::int64_t>(break_of_line.size()) - 1 + width;
    } else {
      text.append(line.substr(at, word_begin - at));
      used += blanks + width;
    }
    text.append(word);
    at_beginning = false;
    at = word_end;
  }
  return text;
}

}  // namespace

std::int64_t terminal_width() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* columns = std::getenv("COLUMNS");
  const long given = columns ? std::strtol(columns, nullptr, 10) : 0;
  return given > 0 && given < 10000 ? given : 80;
}

bool in_foreground() {
  const pid_t owner = ::tcgetpgrp(STDERR_FILENO);
  return owner < 0 || owner == ::getpgrp();
}

bool terminal_reflows() {
  const char* terminal = std::getenv("TERM");
  return !std::getenv("XTERM_VERSION") && !std::getenv("STY") && !(terminal && std::strcmp(terminal, "linux") == 0);
}

std::int64_t columns_of(std::string_view text) {
  const Utf8Scope utf8;
  std::int64_t columns = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Character next = first_of(text.substr(at));
    columns += next.columns;
    at += next.bytes;
  }
  return columns;
}

std::string fitted(std::vector<LinePart> parts, std::int64_t columns) {
  while (parts.size() > 1 && columns_of(joined(parts)) > columns) {
    parts.erase(std::ranges::min_element(parts, {}, &LinePart::importance));
  }
  return cut(joined(parts), columns);
}

std::string wrapped(std::string_view text, std::int64_t columns) {
  std::string all;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (begin > 0) all += '\n';
    all += wrapped_line(text.substr(begin, end - begin), columns);
    begin = end + 1;
  }
  return all;
}

}  // namespace gradus::train
