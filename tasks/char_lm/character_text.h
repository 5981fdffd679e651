// A character language model's data, as in minGPT's character demo: from every place of a text its next block_size
// characters, each to be predicted from those before it.
#pragma once

#include <string>
#include <vector>

#include "framework/data/batch.h"
#include "framework/data/vocabulary.h"

namespace gradus::tasks {

/// Every offset with block_size characters and one more behind it is an example. Each epoch takes all of them, in an
/// order of its own that follows from (seed, epoch). Batches are rows (B,T) of one length; an epoch's last one has what
/// is left.
class CharacterText : public data::BatchSource {
 public:
  /// Throws DataError as data::load_text does, and where the text is empty, holds a reserved character or has no example.
  CharacterText(const std::string& path, std::int64_t block_size, std::int64_t batch_size, std::uint64_t seed);

  std::int64_t batches_per_epoch() const override { return (examples() + batch_size_ - 1) / batch_size_; }
  std::int64_t counted_tokens_per_epoch() const override { return examples() * block_size_; }
  data::Batch batch(std::int64_t epoch, std::int64_t index) const override;
  std::string fingerprint() const override { return fingerprint_; }

  std::int64_t examples() const { return static_cast<std::int64_t>(ids_.size()) - block_size_; }
  /// Ids 0 and 1 are those of every vocabulary here, pad and mask, which no text contains: the model has a row for each
  /// and never sees them.
  const data::Vocabulary& vocabulary() const { return vocabulary_; }
  /// `data has 1115394 characters, 65 unique.`, the two special ones not counted, as the demo prints it.
  std::string summary() const;
  /// As in data::TextFile.
  const std::vector<std::string>& notices() const { return notices_; }

 private:
  std::int64_t block_size_, batch_size_;
  std::uint64_t seed_;
  std::string fingerprint_;
  std::vector<std::string> notices_;
  data::Vocabulary vocabulary_;
  std::vector<std::int64_t> ids_;
};

/// A text in consecutive blocks, so that each of its characters but the first is predicted once. What is left behind the
/// whole blocks is a batch of its own.
class TextBlocks : public data::BatchSource {
 public:
  /// Throws DataError as data::load_text does, and where the text has less than two characters or one that is not in
  /// the vocabulary.
  TextBlocks(const std::string& path, const data::Vocabulary& vocabulary, std::int64_t block_size,
             std::int64_t batch_size);

  std::int64_t batches_per_epoch() const override;
  std::int64_t counted_tokens_per_epoch() const override { return predicted(); }
  data::Batch batch(std::int64_t epoch, std::int64_t index) const override;
  std::string fingerprint() const override { return fingerprint_; }
  /// As in data::TextFile.
  const std::vector<std::string>& notices() const { return notices_; }

 private:
  std::int64_t predicted() const { return static_cast<std::int64_t>(ids_.size()) - 1; }
  std::int64_t block_size_, batch_size_;
  std::string fingerprint_;
  std::vector<std::string> notices_;
  std::vector<std::int64_t> ids_;
};

}  // namespace gradus::tasks
