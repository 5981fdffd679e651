// The finetuning examples (assignment.md, section 3): "Where was X born?" and the place.
#pragma once

#include <string>
#include <vector>

#include "framework/data/batch.h"
#include "framework/data/vocabulary.h"
#include "tasks/birthplace/questions.h"

namespace gradus::tasks {

/// question ⁇ place ⁇ □□□...; the target is pad up to the question's last character, so the loss counts the first ⁇, the
/// place and the closing ⁇. Throws DataError where it does not fit `length` + 1 characters.
data::Example name_example(const Question& question, const data::Vocabulary& vocabulary, std::int64_t length, const std::string& origin);

/// The examples in file order, or shuffled anew in each epoch. Every character outside ASCII is dropped from questions and
/// places, as the assignment's finetuning set does.
class Names : public data::BatchSource {
 public:
  Names(const std::string& path, const data::Vocabulary& vocabulary, std::int64_t length, std::int64_t batch_size, std::uint64_t seed,
        bool shuffle = false);
  /// Of questions with places that were read already from `path`.
  Names(QuestionFile file, const std::string& path, const data::Vocabulary& vocabulary, std::int64_t length,
        std::int64_t batch_size, std::uint64_t seed, bool shuffle = false);
  std::int64_t batches_per_epoch() const override;
  std::int64_t counted_tokens_per_epoch() const override;
  data::Batch batch(std::int64_t epoch, std::int64_t index) const override;
  std::string fingerprint() const override;
  const std::vector<data::Example>& examples() const { return examples_; }
  /// Of the file.
  const std::vector<std::string>& notices() const { return notices_; }

 private:
  std::vector<std::string> notices_;
  std::vector<data::Example> examples_;
  std::int64_t length_, batch_size_;
  std::uint64_t seed_;
  bool shuffle_;
};

}  // namespace gradus::tasks
