#include "tasks/birthplace/names.h"

#include <algorithm>

#include "framework/base/error.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "framework/io/safetensors.h"
#include "tasks/span_corruption/span_corruption.h"

namespace gradus::tasks {
namespace {

using data::Vocabulary;

std::u32string trimmed(std::u32string text) {
  const auto is_space = [](char32_t c) { return c == U' ' || c == U'\t' || c == U'\r' || c == U'\n'; };
  while (!text.empty() && is_space(text.back())) text.pop_back();
  std::size_t first = 0;
  while (first < text.size() && is_space(text[first])) ++first;
  return text.substr(first);
}

}  // namespace

std::vector<Question> load_questions(const std::string& path, bool reduce_to_ascii, bool places_required) {
  std::u32string text = data::decode_utf8(io::read_file(path), path);
  if (reduce_to_ascii) std::erase_if(text, [](char32_t c) { return c >= 0x80; });
  std::vector<Question> questions;
  std::size_t begin = 0;
  for (std::int64_t line = 1; begin < text.size(); ++line) {
    const std::size_t end = std::min(text.find(U'\n', begin), text.size());
    std::u32string content = text.substr(begin, end - begin);
    begin = end + 1;
    if (content.ends_with(U'\r')) content.pop_back();
    const std::size_t tab = content.find(U'\t');
    if (tab == std::u32string::npos && places_required) {
      fail<DataError>("{}: line {}: no tab between question and place: '{}'", path, line, data::encode_utf8(content.substr(0, 60)));
    }
    if (tab != std::u32string::npos && content.find(U'\t', tab + 1) != std::u32string::npos && places_required) {
      fail<DataError>("{}: line {}: more than one tab", path, line);
    }
    questions.push_back({content.substr(0, tab), tab == std::u32string::npos ? U"" : trimmed(content.substr(tab + 1)), line});
  }
  if (questions.empty()) fail<DataError>("{}: no questions in the file", path);
  return questions;
}

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
    fail<DataError>("{}: line {}: question and place need {} characters, {} are there", origin, question.line, ids.size(), full);
  }
  ids.resize(full, Vocabulary::pad);
  data::Example example{{ids.begin(), ids.end() - 1}, std::vector<std::int64_t>(asked.size() - 1, Vocabulary::pad)};
  example.target.insert(example.target.end(), ids.begin() + static_cast<std::ptrdiff_t>(asked.size()), ids.end());
  return example;
}

Names::Names(const std::string& path, const Vocabulary& vocabulary, std::int64_t length, std::int64_t batch_size, std::uint64_t seed, bool shuffle)
    : length_(length), batch_size_(batch_size), seed_(seed), shuffle_(shuffle) {
  if (batch_size < 1) fail<UsageError>("batch_size must be at least 1, not {}", batch_size);
  for (const Question& question : load_questions(path, true, true)) examples_.push_back(name_example(question, vocabulary, length, path));
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
