// What training is fed with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/tensor/tensor.h"

namespace gradus::data {

/// Ids and the ids to predict, i64 each: (1,N), the sequences one after the other.
struct Batch {
  Tensor inputs, targets;
  std::vector<std::int64_t> lengths;  ///< of the sequences; empty: rows (B,T) of one length
  std::int64_t predicted = 0;         ///< targets that are not pad: what a mean loss is over
  std::int64_t counted_tokens = 0;  ///< what the token-counted schedule counts: padding included
};

/// A pair of id rows of one length; target 0 (pad) is not predicted.
struct Example {
  std::vector<std::int64_t> input, target;
};

/// Examples of one length as a batch without padding: what follows the last id and the last target of an example is
/// left out, as with a causal mask it changes neither the loss nor a gradient. counted_tokens counts it all the same.
Batch collate(const std::vector<Example>& examples);

/// The rows' length T: that of the batch's longest sequence, or of all examples, so that every batch has one shape.
enum class Padding { to_longest, to_full_length };

/// A ragged batch as rows (B,T), with padding behind: the same loss and gradients but for rounding and other dropout
/// masks. More is computed.
Batch padded(const Batch& batch, Padding padding);

/// The sequences, or rows, of a batch in so many batches, or as many as there are. counted_tokens stays with the first.
std::vector<Batch> split(const Batch& batch, std::int64_t parts);

Batch on_device(const Batch& batch, Device device);

/// Batches as a pure function of (epoch, index): resuming needs no more than these two numbers. All batches of an epoch
/// count the same number of tokens but the last, which may count fewer.
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

/// The batches of another source, padded.
class PaddedSource final : public BatchSource {
 public:
  PaddedSource(const BatchSource& ragged, Padding padding) : ragged_(ragged), padding_(padding) {}
  std::int64_t batches_per_epoch() const override { return ragged_.batches_per_epoch(); }
  Batch batch(std::int64_t epoch, std::int64_t index) const override {
    return padded(ragged_.batch(epoch, index), padding_);
  }
  std::int64_t counted_tokens_per_epoch() const override { return ragged_.counted_tokens_per_epoch(); }
  std::string fingerprint() const override { return ragged_.fingerprint(); }

 private:
  const BatchSource& ragged_;
  Padding padding_;
};

}  // namespace gradus::data
