// The variants `perceiver` (assignment.md, section 4.1) and `perceiver-ar`: the first layer attends from a few learned
// latents to the input, the layers between work on the latents, the last attends from the input to them. After
// Hawthorne et al. 2022, arXiv:2202.07765.
//
// The assignment's latent i sees input positions up to i, and output t the latents up to t: with 64 latents no output
// sees a character between the 64th and its own. In perceiver-ar latent i stands at position i s of the block, s =
// block_size / latents: it begins as the input there and sees the input up to there, and output t sees the latents up
// to t and its own character. With s = 2, 64 latents for a block of 128, it sees every character up to its own; with
// more, up to s - 2 of the last ones are missing. Queries and keys are turned by their positions, as in the paper; the
// position table is kept, for the number of parameters.
#pragma once

#include "models/gpt/blocks.h"
#include "models/gpt/visibility.h"

namespace gradus::models {

/// Multi-head attention of queries (B,Tq,C), or (1,Tq,C) for all, to keys and values (B,Tk,C) -> (B,Tq,C).
class CrossAttention : public nn::Module {
 public:
  /// Latents stand at multiples of `stride`, and are the queries (`down`) or the keys. Stride 1: query i sees the keys
  /// up to i, whatever they are.
  enum class Latents { queries, keys };
  CrossAttention(const AttentionSizes& sizes, Latents latents, std::int64_t stride, nn::Initializer& initializer,
                 Generator& generator);
  /// With a cache, the keys and values are those that come behind the ones in it, and where there are some in it
  /// already, all queries see all. Either may have no positions then.
  Tensor forward(const Tensor& keys_and_values, const Angles& of_keys, const Tensor& queries, const Angles& of_queries,
                 const LayerContext& context) const;

 private:
  nn::Linear key_, query_, value_, projection_;
  AttentionSizes sizes_;
  nn::Dropout dropout_;
  std::int64_t stride_;
  Visibility visibility_;
};

/// Input (B,T,C) -> latents (B,m,C), those of all that stand before T, with a cache only those at the new positions:
/// h = L + dropout(attention(input, norm(L))), then h + dropout(feed_forward(norm(h))). L is the learned C; where
/// latents are anchored, C plus the input at their positions.
class DownProjection final : public Layer {
 public:
  /// Anchored latents have stride * latents >= T.
  DownProjection(const AttentionSizes& sizes, std::int64_t latents, std::int64_t stride, bool anchored, double dropout,
                 nn::Initializer& initializer, Generator& generator);
  Tensor forward(const Tensor& x, const Tensor& input, const LayerContext& context) const override;

 private:
  Tensor basis_;
  std::int64_t stride_;
  bool anchored_;
  CrossAttention attention_;
};

/// Latents x (B,m,C) and the input (B,T,C) -> (B,T,C): h = input + dropout(attention(norm(x), input)), then h +
/// dropout(feed_forward(norm(h))).
class UpProjection final : public Layer {
 public:
  UpProjection(const AttentionSizes& sizes, std::int64_t stride, double dropout, nn::Initializer& initializer,
               Generator& generator);
  Tensor forward(const Tensor& x, const Tensor& input, const LayerContext& context) const override;

 private:
  CrossAttention attention_;
};

}  // namespace gradus::models
