// Sequences continued id by id.
#pragma once

#include <optional>
#include <vector>

#include "models/gpt/gpt.h"

namespace gradus::models {

/// Sequences of one length and the model that continues them. The context of each is its last ids that the model takes,
/// at positions from 0 on. Until these are all it has, keys and values of what was seen are kept, unless `cached` is
/// false; after that every id stands at another position than before, so that all is computed anew.
class Continuation {
 public:
  using Ids = std::vector<std::int64_t>;
  /// No sequence may be empty, the model must outlive this, and its dropout must be off.
  Continuation(const Gpt& model, std::vector<Ids> sequences, bool cached = true);

  /// (sequences, vocabulary) on the CPU, of the ids that follow; to be called once for each time that ids are appended.
  /// Throws NumericError where one is not finite.
  Tensor next_logits();
  /// One id for each sequence.
  void append(const Ids& next);
  const std::vector<Ids>& sequences() const { return sequences_; }

 private:
  const Gpt* model_;
  std::vector<Ids> sequences_;
  std::optional<KeyValueCache> cache_;
  std::int64_t seen_ = 0;  ///< ids of each sequence that the cache holds
};

}  // namespace gradus::models
