#include "tasks/birthplace/own_line.h"

#include <algorithm>

#include "framework/base/error.h"

namespace gradus::tasks {

std::u32string person_of(const Question& question) {
  constexpr std::u32string_view before = U"Where was ", after = U" born?";
  const std::u32string_view text = question.text;
  if (text.size() < before.size() + after.size() || !text.starts_with(before) || !text.ends_with(after)) return U"";
  return std::u32string(text.substr(before.size(), text.size() - before.size() - after.size()));
}

std::vector<std::optional<bool>> answers_in_own_lines(std::u32string_view corpus,
                                                      const std::vector<Question>& questions,
                                                      const std::vector<std::u32string>& answers) {
  if (questions.size() != answers.size()) fail("{} questions but {} answers", questions.size(), answers.size());
  std::vector<std::u32string_view> lines;
  for (std::size_t begin = 0; begin < corpus.size();) {
    const std::size_t end = std::min(corpus.find(U'\n', begin), corpus.size());
    lines.push_back(corpus.substr(begin, end - begin));
    begin = end + 1;
  }
  std::vector<std::optional<bool>> result(questions.size());
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const std::u32string person = person_of(questions[i]);
    if (person.empty()) continue;
    const std::u32string title = person + U".";
    for (const std::u32string_view line : lines) {
      if (!line.starts_with(title)) continue;
      const bool occurs = !answers[i].empty() && line.find(answers[i]) != std::u32string_view::npos;
      result[i] = result[i].value_or(false) || occurs;
    }
  }
  return result;
}

SilverScore count_in_own_lines(const std::vector<std::optional<bool>>& in_own_line) {
  SilverScore score{.questions = static_cast<std::int64_t>(in_own_line.size())};
  for (const std::optional<bool>& found : in_own_line) {
    score.people += found.has_value();
    score.in_line += found.value_or(false);
  }
  return score;
}

}  // namespace gradus::tasks
