// The silver measure, for questions whose places are not known (assignment.md, section 6): an answer that stands in the
// person's own line of the corpus is probably right.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tasks/birthplace/names.h"

namespace gradus::tasks {

/// NAME of `Where was NAME born?`; empty for any other question.
std::u32string person_of(const Question& question);

/// For each question whether its answer occurs verbatim in a line of `corpus` whose title is the person: that begins
/// with the name and a full stop. Nothing where there is no such line; an empty answer occurs nowhere.
std::vector<std::optional<bool>> answers_in_own_lines(std::u32string_view corpus,
                                                      const std::vector<Question>& questions,
                                                      const std::vector<std::u32string>& answers);

struct SilverScore {
  std::int64_t questions = 0;
  std::int64_t people = 0;   ///< whose line was found
  std::int64_t in_line = 0;  ///< answers that stand in it
  double percent() const { return questions ? 100.0 * double(in_line) / double(questions) : 0; }
};

SilverScore count_in_own_lines(const std::vector<std::optional<bool>>& in_own_line);

}  // namespace gradus::tasks
