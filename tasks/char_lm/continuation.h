// A text continued character by character.
#pragma once

#include <optional>
#include <vector>

#include "framework/random/generator.h"
#include "models/gpt/gpt.h"

namespace gradus::tasks {

/// Which characters may be drawn, and how boldly.
struct SamplingRules {
  double temperature = 1;  ///< divides the logits; 0 takes the likeliest character each time
  std::int64_t top_k = 0;  ///< among so many of the likeliest; 0 for all
  double top_p = 1;        ///< of these, the fewest likeliest that together have this share of the probability
};

/// Draws an id from softmax(logits / temperature) over the ids that the rules leave. Of equal logits the lower id
/// counts as likelier.
std::int64_t draw(const std::vector<double>& logits, const SamplingRules& rules, StreamReader& random);

/// A sequence and the model that continues it. The context is its last ids that the model takes, at positions from 0
/// on. Until then the keys and values of what was seen are kept, unless `cached` is false; after
/// that every character stands at another position than before, so that all is computed anew.
class Continuation {
 public:
  /// The prompt must not be empty, the model must outlive this, and its dropout must be off.
  Continuation(const models::Gpt& model, std::vector<std::int64_t> prompt, bool cached = true);

  /// Of the id that follows; to be called once for each id that is appended.
  std::vector<double> next_logits();
  void append(std::int64_t id) { ids_.push_back(id); }
  const std::vector<std::int64_t>& ids() const { return ids_; }

 private:
  const models::Gpt* model_;
  std::vector<std::int64_t> ids_;
  std::optional<models::KeyValueCache> cache_;
  std::int64_t seen_ = 0;  ///< ids that the cache holds
};

}  // namespace gradus::tasks
