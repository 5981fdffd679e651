#include "tasks/char_lm/character_text.h"

#include <algorithm>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/data/text_file.h"
#include "framework/random/permutation.h"
#include "framework/tensor/creation.h"

namespace gradus::tasks {
namespace {

/// The epochs' orders have streams of their own: a model of the same seed takes its initial values and masks from low
/// ones.
constexpr std::uint64_t first_order_stream = std::uint64_t{1} << 62;

/// The `length` ids from each place on, and those behind each of them.
data::Batch rows_at(const std::vector<std::int64_t>& ids, const std::vector<std::int64_t>& places, std::int64_t length) {
  const auto rows = static_cast<std::int64_t>(places.size());
  std::vector<std::int64_t> inputs, targets;
  for (const std::int64_t place : places) {
    const auto begin = ids.begin() + place;
    inputs.insert(inputs.end(), begin, begin + length);
    targets.insert(targets.end(), begin + 1, begin + length + 1);
  }
  return {.inputs = from_values({rows, length}, inputs),
          .targets = from_values({rows, length}, targets),
          .lengths = {},
          .predicted = rows * length,
          .counted_tokens = rows * length};
}

}  // namespace

CharacterText::CharacterText(const std::string& path, std::int64_t block_size, std::int64_t batch_size,
                             std::uint64_t seed)
    : block_size_(block_size),
      batch_size_(batch_size),
      seed_(seed),
      vocabulary_(data::Vocabulary::from_text(U"", path)) {
  if (block_size < 1) fail<UsageError>("block_size must be at least 1, not {}", block_size);
  if (batch_size < 1) fail<UsageError>("batch_size must be at least 1, not {}", batch_size);
  data::TextFile file = data::load_text(path);
  const std::u32string& text = file.text;
  if (text.empty()) fail<DataError>("{}: the text is empty", path);
  fingerprint_ = std::move(file.fingerprint);
  notices_ = std::move(file.notices);
  vocabulary_ = data::Vocabulary::from_text(text, path);
  ids_ = vocabulary_.encode(text, path);
  if (examples() < 1) {
    fail<DataError>("{}: the text has {}, an example needs {}: the block size and one to predict", path,
                    plural(text.size(), "character"), block_size + 1);
  }
}

std::string CharacterText::summary() const {
  return fmt::format("data has {} characters, {} unique.", ids_.size(), vocabulary_.size() - 2);
}

data::Batch CharacterText::batch(std::int64_t epoch, std::int64_t index) const {
  const Permutation order(examples(), seed_, first_order_stream + static_cast<std::uint64_t>(epoch));
  const std::int64_t first = index * batch_size_, rows = std::min(batch_size_, examples() - first);
  if (index < 0 || rows < 1) fail("batch {} of {}", index, batches_per_epoch());
  std::vector<std::int64_t> places;
  for (std::int64_t row = 0; row < rows; ++row) places.push_back(order(first + row));
  return rows_at(ids_, places, block_size_);
}

TextBlocks::TextBlocks(const std::string& path, const data::Vocabulary& vocabulary, std::int64_t block_size,
                       std::int64_t batch_size)
    : block_size_(block_size), batch_size_(batch_size) {
  data::TextFile file = data::load_text(path);
  fingerprint_ = std::move(file.fingerprint);
  notices_ = std::move(file.notices);
  ids_ = vocabulary.encode(file.text, path);
  if (ids_.size() < 2) fail<DataError>("{}: a text of less than two characters has nothing to predict", path);
}

std::int64_t TextBlocks::batches_per_epoch() const {
  const std::int64_t blocks = predicted() / block_size_;
  return (blocks + batch_size_ - 1) / batch_size_ + (predicted() % block_size_ > 0);
}

data::Batch TextBlocks::batch(std::int64_t, std::int64_t index) const {
  if (index < 0 || index >= batches_per_epoch()) fail("batch {} of {}", index, batches_per_epoch());
  const std::int64_t blocks = predicted() / block_size_, first = index * batch_size_;
  if (first >= blocks) return rows_at(ids_, {blocks * block_size_}, predicted() % block_size_);
  std::vector<std::int64_t> places;
  for (std::int64_t block = first; block < std::min(first + batch_size_, blocks); ++block) places.push_back(block * block_size_);
  return rows_at(ids_, places, block_size_);
}

}  // namespace gradus::tasks
