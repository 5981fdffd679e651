// What training is fed with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/tensor/tensor.h"

namespace gradus::data {

/// Ids and the ids to predict, (B,T) i64 each.
struct Batch {
  Tensor inputs, targets;
  std::int64_t counted_tokens = 0;  ///< what the token-counted schedule counts: padding included
};

/// A pair of id rows of one length; target 0 (pad) is not predicted.
struct Example {
  std::vector<std::int64_t> input, target;
};

/// Rows of one length as a batch. Trailing columns that are pad everywhere are left out: with a causal mask they change
/// neither the loss nor a gradient. counted_tokens counts them all the same.
Batch collate(const std::vector<Example>& examples);

/// Batches as a pure function of (epoch, index): resuming needs no more than these two numbers.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual std::int64_t batches_per_epoch() const = 0;
  virtual Batch batch(std::int64_t epoch, std::int64_t index) const = 0;
  /// Tokens that a whole epoch counts.
  virtual std::int64_t counted_tokens_per_epoch() const = 0;
  /// Differs where the data differ: a run is resumed on the data it began with.
  virtual std::string fingerprint() const = 0;
};

}  // namespace gradus::data
