#include "tasks/birthplace/names.h"

#include <algorithm>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/data/utf8.h"
#include "framework/io/checksum.h"
#include "framework/io/files.h"
#include "tasks/span_corruption/span_corruption.h"

namespace gradus::tasks {
namespace {

using data::Vocabulary;

/// Without the characters outside ASCII, and the spaces that stood beside them at the place's ends.
Question reduced_to_ascii(Question question) {
  for (std::u32string* text : {&question.text, &question.place}) std::erase_if(*text, [](char32_t c) { return c >= 0x80; });
  std::u32string& place = question.place;
  place.erase(0, place.find_first_not_of(U' '));
  place.erase(place.find_last_not_of(U' ') + 1);
  return question;
}

}  // namespace

data::Example name_example(const Question& question, const Vocabulary& vocabulary, std::int64_t length, const std::string& origin) {
  const std::vector<std::int64_t> asked = vocabulary.encode(question.text, origin, question.line);
  const std::vector<std::int64_t> place = vocabulary.encode(question.place, origin, question.line);
  if (asked.empty()) fail<DataError>("{}: line {}: the question is empty", origin, question.line);
  const auto full = static_cast<std::size_t>(length + 1);
  std::vector<std::int64_t> ids = asked;
  ids.push_back(Vocabulary::mask);
  ids.insert(ids.end(), place.begin(), place.end());
  ids.push_back(Vocabulary::mask);
  if (ids.size() > full) {
    fail<DataError>("{}: line {}: question and place need {}, {} are there", origin, question.line,
                    plural(ids.size(), "character"), full);
  }
  ids.resize(full, Vocabulary::pad);
  data::Example example{{ids.begin(), ids.end() - 1}, std::vector<std::int64_t>(asked.size() - 1, Vocabulary::pad)};
  example.target.insert(example.target.end(), ids.begin() + static_cast<std::ptrdiff_t>(asked.size()), ids.end());
  return example;
}

Names::Names(const std::string& path, const Vocabulary& vocabulary, std::int64_t length, std::int64_t batch_size, std::uint64_t seed, bool shuffle)
    : Names(load_questions(path, Places::needed), path, vocabulary, length, batch_size, seed, shuffle) {}

Names::Names(QuestionFile file, const std::string& path, const Vocabulary& vocabulary, std::int64_t length,
             std::int64_t batch_size, std::uint64_t seed, bool shuffle)
    : notices_(std::move(file.notices)), length_(length), batch_size_(batch_size), seed_(seed), shuffle_(shuffle) {
  if (batch_size < 1) fail<UsageError>("batch_size must be at least 1, not {}", batch_size);
  for (const Question& question : file.questions) {
    const Question reduced = reduced_to_ascii(question);
    if (reduced.place.empty()) {
      fail<DataError>("{}: line {}: the place '{}' has no character in ASCII, and the others are dropped in finetuning", path,
                      question.line, data::encode_utf8(question.place));
    }
    examples_.push_back(name_example(reduced, vocabulary, length, path));
  }
}

std::int64_t Names::batches_per_epoch() const { return (static_cast<std::int64_t>(examples_.size()) + batch_size_ - 1) / batch_size_; }

std::string Names::fingerprint() const {
  std::string ids;
  for (const data::Example& example : examples_) {
    for (const std::int64_t id : example.input) ids += std::to_string(id) + ' ';
  }
  return io::checksum(ids);
}

std::int64_t Names::counted_tokens_per_epoch() const { return static_cast<std::int64_t>(examples_.size()) * length_; }

data::Batch Names::batch(std::int64_t epoch, std::int64_t index) const {
  std::vector<data::Example> examples;
  for (std::int64_t item : batch_items(examples_.size(), batch_size_, index, shuffle_, seed_, epoch)) examples.push_back(examples_[item]);
  return data::collate(examples);
}

}  // namespace gradus::tasks
