// Answering questions and scoring the answers (assignment.md, section 6).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/gpt/gpt.h"
#include "tasks/birthplace/names.h"

namespace gradus::tasks {

/// Greedy decoding: `count` characters after each prompt, argmax each time, dropout off. All prompts of one length go
/// through the model together; the result is the same as for one prompt at a time. Where a sequence outgrows the model,
/// its last ids are the context.
std::vector<std::vector<std::int64_t>> decode_greedily(models::Gpt& model, const std::vector<std::vector<std::int64_t>>& prompts, std::int64_t count,
                                                       const std::function<void(std::int64_t done)>& progress = {});

inline constexpr std::int64_t answer_characters = 32;

/// Question ⁇ is the prompt; the answer is what stands between it and the next ⁇, or all 32 characters without one.
std::vector<std::u32string> answer_questions(models::Gpt& model, const data::Vocabulary& vocabulary, const std::vector<Question>& questions,
                                             const std::string& origin, const std::function<void(std::int64_t done)>& progress = {});

struct Score {
  std::int64_t correct = 0, total = 0;
  double percent() const { return total ? 100.0 * static_cast<double>(correct) / static_cast<double>(total) : 0; }
  /// Wilson's interval for a share, in percent, at 95 %.
  std::pair<double, double> interval() const;
  /// `Correct: 25.0 out of 500.0: 5.0%`, with the floats as Python writes them.
  std::string course_line() const;
};

/// Exact string equality. Questions without a place count as wrong.
Score score_answers(const std::vector<Question>& questions, const std::vector<std::u32string>& answers);

/// What the answer London to every question would score.
Score london_baseline(const std::vector<Question>& questions);

/// One answer a line, UTF-8. Whatever any reader takes for the end of a line is written as U+2424 inside an answer, so
/// that lines and questions correspond, and other controls as by printable().
void write_predictions(const std::string& path, const std::vector<std::u32string>& answers);

/// A table of all questions, tab-separated, with a line of headings: line, question, place, answer, `right` or `wrong`
/// (`-` where the place is not known), and whether the answer stands in the person's own line of the corpus: `yes`,
/// `no`, or `-` where no line was found; `in_own_line` may be empty. Answers are written as in predictions, and a tab as
/// U+2409.
void write_people(const std::string& path, const std::vector<Question>& questions,
                  const std::vector<std::u32string>& answers, const std::vector<std::optional<bool>>& in_own_line);

}  // namespace gradus::tasks
