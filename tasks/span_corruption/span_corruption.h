// The pretraining task (assignment.md, section 2): a random span of a document is cut out and predicted at the end.
#pragma once

#include <string>
#include <vector>

#include "framework/data/batch.h"
#include "framework/data/text_file.h"
#include "framework/data/vocabulary.h"
#include "tasks/span_corruption/mentions.h"

namespace gradus::tasks {

/// A corpus: one document a line. The text after the last newline is a document too, even when empty.
struct Corpus {
  std::string path;
  std::string fingerprint;  ///< of the text
  std::u32string text;
  data::Vocabulary vocabulary;
  std::vector<std::vector<std::int64_t>> documents;  ///< as ids
  std::vector<std::string> notices;                  ///< as in data::TextFile

  /// `data has 418352 characters, 256 unique.`
  std::string summary() const;
};

/// Throws DataError as data::load_text does, and where the text is empty or holds a reserved character.
Corpus load_corpus(const std::string& path);
/// The same of a text that was read already.
Corpus corpus_of(data::TextFile file, const std::string& path);
/// The same with ids of another's vocabulary. Throws DataError also for a character that it does not have.
Corpus load_corpus(const std::string& path, const data::Vocabulary& vocabulary);

struct CorruptionRules {
  std::int64_t length = 127;             ///< ids in each input and target
  std::int64_t shortest_truncation = 4;  ///< a document is cut to a length uniform in [shortest, longest]
  std::int64_t longest_truncation = 112;
  double shortest_mask = 0.125, longest_mask = 0.375;  ///< span length as a share of the truncated document, uniform
  double names = 0;  ///< share of the examples that ask for a name instead, where the document has one
  std::u32string keyword = {};  ///< in some of these the first name behind this word
  double preferred = 0.5;       ///< in so many

  /// Throws UsageError, in the words of the program's options.
  void validate() const;
};

/// The assignment's rules for a block size: truncation to at most 7/8 of it.
CorruptionRules assignment_rules(std::int64_t block_size, std::int64_t length);

/// prefix ⁇ suffix ⁇ span □□□..., as input (all but the last) and target (all but the first). A function of
/// (seed, stream) alone. The span's length follows from the real truncated length; its start is uniform.
data::Example corrupt(const std::vector<std::int64_t>& document, const CorruptionRules& rules, std::uint64_t seed, std::uint64_t stream);

/// Documents in file order (or shuffled anew in each epoch), each corrupted afresh in each epoch.
class SpanCorruption : public data::BatchSource {
 public:
  SpanCorruption(const Corpus& corpus, const CorruptionRules& rules, std::int64_t batch_size, std::uint64_t seed, bool shuffle = false);
  std::int64_t batches_per_epoch() const override;
  std::int64_t counted_tokens_per_epoch() const override;
  data::Batch batch(std::int64_t epoch, std::int64_t index) const override;
  std::string fingerprint() const override { return corpus_->fingerprint; }
  data::Example example(std::int64_t epoch, std::int64_t document) const;
  /// A line about a text that can hardly be read, because its documents are much longer than what is read of each; else
  /// empty.
  std::string unread_text() const;
  /// `names: in 2922 of 2938 documents, in 2541 one behind 'born'`; of rules that ask for names.
  std::string names_summary() const;

 private:
  const Corpus* corpus_;
  CorruptionRules rules_;
  std::vector<Mentions> mentions_;  ///< of each document, where names are asked for
  std::int64_t batch_size_;
  std::uint64_t seed_;
  bool shuffle_;
};

/// The items of batch `index` when `count` items are taken in order, or shuffled by (seed, epoch).
std::vector<std::int64_t> batch_items(std::int64_t count, std::int64_t batch_size, std::int64_t index, bool shuffle, std::uint64_t seed,
                                      std::int64_t epoch);

}  // namespace gradus::tasks
