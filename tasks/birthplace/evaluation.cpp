#include "tasks/birthplace/evaluation.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "framework/autograd/modes.h"
#include "framework/base/error.h"
#include "framework/base/printable.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "framework/ops/ops.h"
#include "models/gpt/continuation.h"

namespace gradus::tasks {
namespace {

constexpr std::size_t largest_group = 64;

/// A double as Python's str() writes it: the shortest form that reads back, with a point.
std::string python_float(double value) {
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

/// Puts the model into evaluation mode for a while.
class EvaluationScope {
 public:
  explicit EvaluationScope(models::Gpt& model) : model_(model), was_training_(model.is_training()) { model_.set_training(false); }
  ~EvaluationScope() { model_.set_training(was_training_); }

 private:
  models::Gpt& model_;
  bool was_training_;
  NoGradScope no_grad_;
};

}  // namespace

std::vector<std::vector<std::int64_t>> decode_greedily(models::Gpt& model, const std::vector<std::vector<std::int64_t>>& prompts, std::int64_t count,
                                                       const std::function<void(std::int64_t)>& progress) {
  const EvaluationScope scope(model);
  std::map<std::size_t, std::vector<std::size_t>> by_length;
  for (std::size_t i = 0; i < prompts.size(); ++i) by_length[prompts[i].size()].push_back(i);
  std::vector<std::vector<std::int64_t>> sequences(prompts.size());
  std::int64_t done = 0;
  for (const auto& [length, members] : by_length) {
    if (length == 0) fail<DataError>("an empty prompt cannot be continued");
    for (std::size_t first = 0; first < members.size(); first += largest_group) {
      const std::vector<std::size_t> group(
          members.begin() + static_cast<std::ptrdiff_t>(first),
          members.begin() + static_cast<std::ptrdiff_t>(std::min(first + largest_group, members.size())));
      std::vector<std::vector<std::int64_t>> together;
      for (const std::size_t member : group) together.push_back(prompts[member]);
      models::Continuation continuation(model, std::move(together));
      for (std::int64_t step = 0; step < count; ++step)
        continuation.append(argmax(continuation.next_logits(), 1).to_vector<std::int64_t>());
      for (std::size_t row = 0; row < group.size(); ++row) sequences[group[row]] = continuation.sequences()[row];
      done += static_cast<std::int64_t>(group.size());
      if (progress) progress(done);
    }
  }
  return sequences;
}

std::vector<std::u32string> answer_questions(models::Gpt& model, const data::Vocabulary& vocabulary, const std::vector<Question>& questions,
                                             const std::string& origin, const std::function<void(std::int64_t)>& progress) {
  std::vector<std::vector<std::int64_t>> prompts;
  for (const Question& question : questions) {
    prompts.push_back(vocabulary.encode(question.text, origin, question.line));
    prompts.back().push_back(data::Vocabulary::mask);
  }
  std::vector<std::u32string> answers;
  for (const auto& sequence : decode_greedily(model, prompts, answer_characters, progress)) {
    // The pieces between the marks; the second one is the answer.
    const auto mark = [&](auto from) { return std::find(from, sequence.end(), data::Vocabulary::mask); };
    const auto opening = mark(sequence.begin());
    answers.push_back(vocabulary.decode({opening + 1, mark(opening + 1)}));
  }
  return answers;
}

std::pair<double, double> Score::interval() const {
  if (total == 0) return {0, 100};
  constexpr double z = 1.959963984540054;
  const double n = static_cast<double>(total), share = static_cast<double>(correct) / n;
  const double centre = (share + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  return {100 * std::max(0.0, centre - half), 100 * std::min(1.0, centre + half)};
}

std::string Score::course_line() const {
  const double right = static_cast<double>(correct), all = static_cast<double>(total);
  return fmt::format("Correct: {} out of {}: {}%", python_float(right), python_float(all), python_float(right / all * 100));
}

Score score_answers(const std::vector<Question>& questions, const std::vector<std::u32string>& answers) {
  if (questions.size() != answers.size()) fail("{} questions but {} answers", questions.size(), answers.size());
  Score score{0, static_cast<std::int64_t>(questions.size())};
  for (std::size_t i = 0; i < questions.size(); ++i) score.correct += !questions[i].place.empty() && questions[i].place == answers[i];
  return score;
}

Score london_baseline(const std::vector<Question>& questions) {
  return score_answers(questions, std::vector<std::u32string>(questions.size(), U"London"));
}

namespace {

/// What ends a line for Python's str.splitlines(), which knows the most of them.
bool ends_line(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

std::string on_one_line(std::u32string answer) {
  std::ranges::replace_if(answer, ends_line, U'\u2424');
  return printable(data::encode_utf8(answer), "\t");
}

}  // namespace

void write_predictions(const std::string& path, const std::vector<std::u32string>& answers) {
  std::string text;
  for (const std::u32string& answer : answers) text += on_one_line(answer) + "\n";
  io::write_file_atomically(path, text);
}

void write_people(const std::string& path, const std::vector<Question>& questions,
                  const std::vector<std::u32string>& answers, const std::vector<std::optional<bool>>& in_own_line) {
  if (questions.size() != answers.size()) fail("{} questions but {} answers", questions.size(), answers.size());
  std::string table = "line\tquestion\tplace\tanswer\tverdict\tin_own_line\n";
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const Question& question = questions[i];
    std::u32string answer = answers[i];
    std::replace(answer.begin(), answer.end(), U'\t', U'\u2409');
    const std::optional<bool> silver = in_own_line.empty() ? std::nullopt : in_own_line.at(i);
    table += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\n", question.line, data::encode_utf8(question.text),
                         data::encode_utf8(question.place), on_one_line(answer),
                         question.place.empty()         ? "-"
                         : question.place == answers[i] ? "right"
                                                        : "wrong",
                         !silver   ? "-"
                         : *silver ? "yes"
                                   : "no");
  }
  io::write_file_atomically(path, table);
}

}  // namespace gradus::tasks
