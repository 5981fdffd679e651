// The parts of a decoder-only Transformer, in the assignment's form (pre-norm, separate projections, exact GELU).
#pragma once

#include "framework/nn/layers.h"

namespace gradus::models {

/// Probabilities with which elements are dropped while training.
struct DropoutRates {
  double embedding = 0.1, residual = 0.1, attention = 0.1;
};

/// Lengths of the sequences that follow each other in a row without padding; none: the row is one sequence.
using Lengths = std::vector<std::int64_t>;

/// Keys and values of the positions that one layer has seen, (B,H,room,D), the first `seen` of them filled.
struct LayerCache {
  Tensor keys, values;
  std::int64_t seen = 0;
};

/// What a position of x may attend to besides those before it in x.
struct AttentionContext {
  Lengths lengths = {};         ///< only its own sequence
  LayerCache* cache = nullptr;  ///< also everything before x; keys and values of x are added. For inference
  std::int64_t room = 0;        ///< positions that an empty cache is made for
};

/// Multi-head self-attention in which position t of a sequence sees its positions up to t. x (B,T,C) -> (B,T,C); with a
/// cache that has seen something T is 1.
class CausalSelfAttention : public nn::Module {
 public:
  CausalSelfAttention(std::int64_t width, std::int64_t heads, const DropoutRates& rates, nn::Initializer& initializer,
                      Generator& generator);
  Tensor forward(const Tensor& x, const AttentionContext& context = {}) const;

 private:
  nn::Linear key_, query_, value_, projection_;
  std::int64_t heads_;
  double attention_dropout_;
  Generator* generator_;
};

/// Linear to 4C, GELU, linear back. Its children are named 0 and 2, as in a PyTorch Sequential.
class FeedForward : public nn::Module {
 public:
  FeedForward(std::int64_t width, nn::Initializer& initializer);
  Tensor forward(const Tensor& x) const;

 private:
  nn::Linear expand_, contract_;
};

/// x + dropout(attention(norm(x))), then x + dropout(feed_forward(norm(x))). The first sum and the norm after it are
/// one op, and so are the second sum and its dropout.
class Block : public nn::Module {
 public:
  Block(std::int64_t width, std::int64_t heads, const DropoutRates& rates, nn::Initializer& initializer, Generator& generator);
  Tensor forward(const Tensor& x, const AttentionContext& context = {}) const;

 private:
  nn::LayerNorm norm1_, norm2_;
  CausalSelfAttention attention_;
  FeedForward feed_forward_;
  nn::Dropout dropout_;
};

}  // namespace gradus::models
