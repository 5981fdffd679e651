// The terminal behind standard error, and what fits into a line of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::train {

/// The terminal's columns, asked anew at each call; where there is none, those of COLUMNS, else 80.
std::int64_t terminal_width();

/// False where the terminal belongs to another job: this one runs in the background, and the line is the prompt's.
bool in_foreground();

/// Whether a terminal that gets narrower moves the end of a line into the next row, as most do but xterm and the console.
bool terminal_reflows();

/// Columns that UTF-8 text takes: two for wide characters, none for combining ones; a stray byte takes one.
std::int64_t columns_of(std::string_view text);

struct LinePart {
  std::string text;
  int importance;
};

/// The parts in their order, two blanks between; where `columns` do not hold all, without the least important ones.
/// The last one left is cut.
std::string fitted(std::vector<LinePart> parts, std::int64_t columns);

/// Text whose lines are broken between words, so that each has at most `columns` unless a word is longer. What is broken
/// off is indented by two more than its line.
std::string wrapped(std::string_view text, std::int64_t columns);

}  // namespace gradus::train
