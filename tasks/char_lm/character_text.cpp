#include "tasks/char_lm/character_text.h"

#include <algorithm>

#include "framework/base/error.h"
#include "framework/data/text_file.h"
#include "framework/random/permutation.h"
#include "framework/tensor/creation.h"

namespace gradus::tasks {
namespace {

/// The epochs' orders have streams of their own: a model of the same seed takes its initial values and masks from low
/// ones.
constexpr std::uint64_t first_order_stream = std::uint64_t{1} << 62;

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
    fail<DataError>("{}: the text has {} characters, an example needs {}: the block size and one to predict", path,
                    text.size(), block_size + 1);
  }
}

std::string CharacterText::summary() const {
  return fmt::format("data has {} characters, {} unique.", ids_.size(), vocabulary_.size() - 2);
}

data::Batch CharacterText::batch(std::int64_t epoch, std::int64_t index) const {
  const Permutation order(examples(), seed_, first_order_stream + static_cast<std::uint64_t>(epoch));
  const std::int64_t first = index * batch_size_, rows = std::min(batch_size_, examples() - first);
  if (index < 0 || rows < 1) fail("batch {} of {}", index, batches_per_epoch());
  std::vector<std::int64_t> inputs, targets;
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto begin = ids_.begin() + order(first + row);
    inputs.insert(inputs.end(), begin, begin + block_size_);
    targets.insert(targets.end(), begin + 1, begin + block_size_ + 1);
  }
  return {.inputs = from_values({rows, block_size_}, inputs),
          .targets = from_values({rows, block_size_}, targets),
          .lengths = {},
          .predicted = rows * block_size_,
          .counted_tokens = rows * block_size_};
}

}  // namespace gradus::tasks
