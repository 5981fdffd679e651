// Questions and places from a file (assignment.md, section 3), read alike for training and for evaluation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gradus::tasks {

struct Question {
  std::u32string text;
  std::u32string place;  ///< empty where the file gives none
  std::int64_t line;     ///< from 1
};

struct QuestionFile {
  std::vector<Question> questions;   ///< at least one
  bool has_places = false;           ///< all of them, or none
  std::vector<std::string> notices;  ///< as in data::TextFile
};

enum class Places { needed, optional };

/// question TAB place, one a line; questions alone too, where places are `optional`. Spaces around both, as Python's
/// strip() has them, and blank lines at the end are left out, and a notice says so. Everything else that would make a
/// question or a place another than the one meant is a DataError that names the line: another number of tabs, or spaces
/// in its stead; a blank line between others; an empty question; a line without a place among lines with one; quotation
/// marks around a field; characters that nobody sees. So is a first line with neither a tab nor a question mark: another
/// text, a corpus say. Throws as data::load_text does, and for a file without questions.
QuestionFile load_questions(const std::string& path, Places places);

}  // namespace gradus::tasks
