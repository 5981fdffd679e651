#include "tasks/birthplace/questions.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "framework/base/error.h"
#include "framework/base/printable.h"
#include "framework/data/text_file.h"
#include "framework/data/utf8.h"

namespace gradus::tasks {
namespace {

/// As Python's str.isspace().
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// Whether the character has no width of its own: controls, directions, byte order marks. The two joiners are left to
/// the scripts that write words with them.
bool is_hidden(char32_t c) {
  return is_control(c) || c == 0xAD || c == 0x200B || c == 0x200E || c == 0x200F || (c >= 0x2060 && c <= 0x2064) ||
         c == 0xFEFF;
}

std::u32string_view trimmed(std::u32string_view text) {
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text;
}

std::string excerpt(std::u32string_view line) { return printable(data::encode_utf8(line.substr(0, 60))); }

/// What stands where a tab may have been: between a question mark and a word behind it or, without one, the last two
/// spaces and more. Nothing where a question seems to stand alone.
std::optional<std::u32string_view> separator_in(std::u32string_view line) {
  line = trimmed(line);
  if (const std::size_t mark = line.rfind(U'?'); mark != std::u32string_view::npos) {
    const std::u32string_view behind = line.substr(mark + 1);
    const auto end = std::ranges::find_if(behind, [](char32_t c) {
      return !is_space(c) && std::u32string_view(U",;:|/\\-").find(c) == std::u32string_view::npos;
    });
    const auto size = static_cast<std::size_t>(end - behind.begin());
    const bool closes = size == 0 && (behind.empty() ||
                                      std::u32string_view(U"\"')]}.!»”’").find(behind[0]) != std::u32string_view::npos);
    return closes ? std::nullopt : std::optional(behind.substr(0, size));
  }
  for (std::size_t end = line.size(); end > 1; --end) {
    std::size_t begin = end;
    while (begin > 0 && is_space(line[begin - 1])) --begin;
    if (end - begin > 1) return line.substr(begin, end - begin);
  }
  return {};
}

std::string description_of(std::u32string_view separator) {
  if (separator.empty()) return "nothing stands there";
  if (!std::ranges::all_of(separator, is_space)) return fmt::format("'{}' stands there", excerpt(separator));
  return separator.size() == 1 ? "a space stands there" : fmt::format("{} spaces stand there", separator.size());
}

/// Reads the lines one by one, and counts what it leaves out.
class Reader {
 public:
  Reader(const std::string& path, Places places) : path_(path), places_(places) {}

  QuestionFile read(data::TextFile file) {
    split(file.text);
    const auto has_place = [](std::u32string_view line) {
      const std::size_t tab = line.find(U'\t');
      return tab != std::u32string_view::npos && !trimmed(line.substr(tab)).empty();
    };
    result_.notices = std::move(file.notices);
    result_.has_places = std::ranges::any_of(lines_, has_place);
    for (std::size_t i = 0; i < lines_.size(); ++i) read_line(lines_[i], static_cast<std::int64_t>(i) + 1);
    notice_counts();
    return std::move(result_);
  }

 private:
  /// The lines up to the last one that is not blank.
  void split(std::u32string_view text) {
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find(U'\n', begin), text.size());
      lines_.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    for (; !lines_.empty() && trimmed(lines_.back()).empty(); ++blank_) lines_.pop_back();
    if (lines_.empty()) fail<DataError>("{}: no questions in the file", path_);
  }

  template <class... Args>
  [[noreturn]] void refuse(std::int64_t line, fmt::format_string<Args...> format, Args&&... args) const {
    fail<DataError>("{}: line {}: {}", path_, line, fmt::format(format, std::forward<Args>(args)...));
  }

  void read_line(std::u32string_view line, std::int64_t number) {
    if (trimmed(line).empty()) refuse(number, "the line is blank, and others follow: delete it");
    const auto tabs = std::ranges::count(line, U'\t');
    const std::optional<std::u32string_view> separator = separator_in(line);
    const bool needs_place = places_ == Places::needed || result_.has_places;
    if (number == 1 && tabs == 0 && !needs_place && !separator && line.find(U'?') == std::u32string_view::npos) {
      refuse(number, "neither a tab nor a question mark: this is no list of questions, one a line, with or without a tab "
                     "and the place");
    }
    if (tabs == 0 && (needs_place || separator)) {
      refuse(number, "no tab between question and place{}: '{}'",
             separator ? " (" + description_of(*separator) + ")" : "", excerpt(line));
    }
    if (tabs > 1) refuse(number, "more than one tab, where one stands between question and place: '{}'", excerpt(line));
    const std::size_t tab = std::min(line.find(U'\t'), line.size());
    const std::u32string_view rest = line.substr(std::min(tab + 1, line.size()));
    const std::u32string_view text = field("question", line.substr(0, tab), number),
                              place = field("place", rest, number);
    if (text.empty()) refuse(number, "the question is empty: '{}'", excerpt(line));
    if (needs_place && place.empty()) refuse(number, "the place is empty: '{}'", excerpt(line));
    if (text.size() != tab || place.size() != rest.size()) note(spaces_, number);
    if (tabs == 1 && place.empty()) note(idle_tabs_, number);
    result_.questions.push_back({std::u32string(text), std::u32string(place), number});
  }

  /// `text` without the spaces around it.
  std::u32string_view field(const char* what, std::u32string_view text, std::int64_t line) const {
    text = trimmed(text);
    if (text.size() > 1 && text.front() == U'"' && text.back() == U'"') {
      refuse(line, "the {} stands in quotation marks, which a spreadsheet adds: save it without, {}", what,
             excerpt(text));
    }
    const auto is_joiner = [](char32_t c) { return c == 0x200C || c == 0x200D; };
    for (std::size_t i = 0; i < text.size(); ++i) {
      const bool at_an_end = i == 0 || i + 1 == text.size();
      if (is_hidden(text[i]) || (at_an_end && is_joiner(text[i]))) {
        refuse(line, "a character that nobody sees, U+{:04X}, is in the {} '{}': delete it",
               static_cast<std::uint32_t>(text[i]), what, excerpt(text));
      }
    }
    return text;
  }

  struct Count {
    std::int64_t lines = 0, first = 0;
  };
  static void note(Count& count, std::int64_t line) {
    if (count.lines++ == 0) count.first = line;
  }

  void notice_counts() {
    const auto where = [](const Count& count) {
      return count.lines == 1 ? fmt::format("in line {}", count.first)
                              : fmt::format("in {} lines, the first line {}", count.lines, count.first);
    };
    if (spaces_.lines > 0)
      result_.notices.push_back(
          fmt::format("{}: spaces around question or place are left out {}", path_, where(spaces_)));
    if (idle_tabs_.lines > 0)
      result_.notices.push_back(fmt::format("{}: a tab without a place is left out {}", path_, where(idle_tabs_)));
    if (blank_ > 0) {
      result_.notices.push_back(blank_ == 1 ? path_ + ": a blank line at its end is skipped"
                                            : fmt::format("{}: {} blank lines at its end are skipped", path_, blank_));
    }
  }

  const std::string& path_;
  const Places places_;
  std::vector<std::u32string_view> lines_;
  std::int64_t blank_ = 0;
  Count spaces_, idle_tabs_;
  QuestionFile result_;
};

}  // namespace

QuestionFile load_questions(const std::string& path, Places places) {
  return Reader(path, places).read(data::load_text(path));
}

}  // namespace gradus::tasks
