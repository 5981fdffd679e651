#include "tools/help_formatter.h"

#include <algorithm>

#include "framework/train/terminal.h"

namespace gradus::tools {
namespace {

constexpr std::size_t name_columns = 30;

/// Of a page: wide lines are hard to read.
std::int64_t page_width() { return std::clamp<std::int64_t>(train::terminal_width(), 50, 100); }

/// A line of an example, broken before options.
std::string broken_example(const std::string& line) {
  const auto columns = static_cast<std::size_t>(page_width());
  std::string all, rest = line;
  while (rest.size() > columns) {
    std::size_t at = rest.rfind(" --", columns - 2);
    const std::size_t indentation = rest.find_first_not_of(' ');
    if (at == std::string::npos || at <= indentation) break;
    all += rest.substr(0, at) + " \\\n";
    rest = "    " + rest.substr(at + 1);
  }
  return all + rest;
}

template <class Transform>
std::string line_by_line(const std::string& text, Transform transform) {
  std::string all;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    all += transform(text.substr(begin, end - begin)) + "\n";
    begin = end + 1;
  }
  return all;
}

}  // namespace

HelpFormatter::HelpFormatter() { column_width(name_columns); }

std::string HelpFormatter::make_description(const CLI::App* app) const {
  return train::wrapped(Formatter::make_description(app), page_width());
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  return line_by_line(Formatter::make_footer(app), broken_example);
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  return entry(command->get_display_name(true), command->get_description());
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  return entry(make_option_name(option, is_positional) + make_option_opts(option), make_option_desc(option));
}

/// The description beside the name, or below it where the name is long.
std::string HelpFormatter::entry(const std::string& name, const std::string& description) const {
  const std::string text = train::wrapped(description, page_width() - static_cast<std::int64_t>(name_columns));
  const bool is_long = name.size() + 4 > name_columns;
  std::string all = "  " + name;
  if (!text.empty()) all += is_long ? "\n" + std::string(name_columns, ' ') : std::string(name_columns - name.size() - 2, ' ');
  for (const char c : text) {
    all += c;
    if (c == '\n') all += std::string(name_columns, ' ');
  }
  return all + "\n";
}

}  // namespace gradus::tools
