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

/// Multi-head self-attention in which position t of a sequence sees its positions up to t. x (B,T,C) -> (B,T,C).
class CausalSelfAttention : public nn::Module {
 public:
  CausalSelfAttention(std::int64_t width, std::int64_t heads, const DropoutRates& rates, nn::Initializer& initializer,
                      Generator& generator);
  Tensor forward(const Tensor& x, const Lengths& lengths = {}) const;

 private:
  nn::Linear key_, query_, value_, projection_;
  nn::Dropout residual_dropout_;
  std::int64_t heads_;
  double attention_dropout_;
  Generator* generator_;
};

/// Linear to 4C, GELU, linear back, dropout. Its children are named 0 and 2, as in a PyTorch Sequential.
class FeedForward : public nn::Module {
 public:
  FeedForward(std::int64_t width, const DropoutRates& rates, nn::Initializer& initializer, Generator& generator);
  Tensor forward(const Tensor& x) const;

 private:
  nn::Linear expand_, contract_;
  nn::Dropout dropout_;
};

/// x + attention(norm(x)), then x + feed_forward(norm(x)).
class Block : public nn::Module {
 public:
  Block(std::int64_t width, std::int64_t heads, const DropoutRates& rates, nn::Initializer& initializer, Generator& generator);
  Tensor forward(const Tensor& x, const Lengths& lengths = {}) const;

 private:
  nn::LayerNorm norm1_, norm2_;
  CausalSelfAttention attention_;
  FeedForward feed_forward_;
};

}  // namespace gradus::models
