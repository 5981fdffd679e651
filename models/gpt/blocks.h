// The parts of a decoder-only Transformer, in the assignment's form (pre-norm, separate projections, exact GELU).
#pragma once

#include <map>
#include <memory>

#include "framework/nn/layers.h"

namespace gradus::models {

/// Probabilities with which elements are dropped while training.
struct DropoutRates {
  double embedding = 0.1, residual = 0.1, attention = 0.1;
};

/// Lengths of the sequences that follow each other in a row without padding; none: the row is one sequence.
using Lengths = std::vector<std::int64_t>;

/// Position in its sequence of each element of such a row: 0, 1, ..., 0, 1, ... as i64 of the given shape, on `device`.
Tensor places_of(const Lengths& lengths, const Shape& shape, Device device);

/// Keys and values of the positions that one layer has seen, (B,H,room,D), the first `seen` of them filled.
struct LayerCache {
  Tensor keys, values;
  std::int64_t seen = 0;
};

/// Of the positions of x, (T, D/2) each: for rotary embedding.
struct Angles {
  Tensor cosines, sines;
};

/// What a layer knows of x besides its elements.
struct LayerContext {
  Lengths lengths = {};         ///< a position attends only to its own sequence
  LayerCache* cache = nullptr;  ///< also to everything before x; keys and values of x are added. For inference
  std::int64_t room = 0;        ///< positions that an empty cache is made for
  Angles angles = {};           ///< of models with rotary embedding
  Angles input_angles = {}, latent_angles = {};  ///< of a perceiver with rotary embedding: angles are those of x
};

/// What all attention of a model has in common.
struct AttentionSizes {
  std::int64_t width, heads;
  double dropout;  ///< of attention weights
};

/// A constant of the model where it is used: on `device`, and kept there, but for a copy that a step records.
Tensor constant_on(Tensor& constant, Device device);

/// (B,T,C) -> (B,H,T,C/H), turned by the angles of the positions where there are any, and back.
Tensor split_heads(const Tensor& x, std::int64_t heads, const Angles& angles = {});
Tensor merge_heads(const Tensor& x);

/// Puts `fresh` (B,H,T,D) behind the first `seen` positions of `cached`, made with `room`; returns all of them.
Tensor append(Tensor& cached, const Tensor& fresh, std::int64_t seen, std::int64_t room);

/// x (B,T,C) -> (B,T,C), position t seeing positions up to t. With a cache that has seen something T is 1.
class Attention : public nn::Module {
 public:
  virtual Tensor forward(const Tensor& x, const LayerContext& context) const = 0;
};

/// Multi-head self-attention; queries and keys are turned by the context's angles.
class CausalSelfAttention : public Attention {
 public:
  CausalSelfAttention(const AttentionSizes& sizes, nn::Initializer& initializer, Generator& generator);
  Tensor forward(const Tensor& x, const LayerContext& context = {}) const override;

 private:
  nn::Linear key_, query_, value_, projection_;
  AttentionSizes sizes_;
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

/// One of the layers between embedding and head: some attention, and a feed-forward part behind it, each on its
/// residual.
class Layer : public nn::Module {
 public:
  /// x (B,T,C) from the layer before; `input` (B,T',C), what the first layer had for x.
  virtual Tensor forward(const Tensor& x, const Tensor& input, const LayerContext& context) const = 0;

 protected:
  Layer(std::int64_t width, double dropout, nn::Initializer& initializer, Generator& generator);
  void register_parts(nn::Module& attention);
  /// h = residual + dropout(attended), then h + dropout(feed_forward(norm2(h))). The first sum and the norm after it
  /// are one op, and so are the second sum and its dropout.
  Tensor add_and_feed_forward(const Tensor& residual, const Tensor& attended) const;

  nn::LayerNorm norm1_;

 private:
  nn::LayerNorm norm2_;
  FeedForward feed_forward_;
  nn::Dropout dropout_;
};

/// x + dropout(attention(norm1(x))), and so on.
class Block final : public Layer {
 public:
  Block(std::int64_t width, std::unique_ptr<Attention> attention, double dropout, nn::Initializer& initializer,
        Generator& generator);
  Tensor forward(const Tensor& x, const Tensor& input, const LayerContext& context) const override;

 private:
  std::unique_ptr<Attention> attention_;
};

}  // namespace gradus::models
