// The variant `synthesizer` (assignment.md, section 4.2): the weights of attention come from the query's position
// alone, through a hidden layer, not from products with keys. A form of the dense Synthesizer of Tay et al. 2020,
// arXiv:2005.00743.
#pragma once

#include "models/gpt/blocks.h"
#include "models/gpt/visibility.h"

namespace gradus::models {

/// softmax(mask(relu(x A + a) B + b)) (x V), for each head; B (C/H, longest) and b (longest) are shared by the heads.
class SynthesizerAttention final : public Attention {
 public:
  /// `longest`: the longest sequence.
  SynthesizerAttention(const AttentionSizes& sizes, std::int64_t longest, nn::Initializer& initializer,
                       Generator& generator);
  /// Rows of one length: context.lengths is empty.
  Tensor forward(const Tensor& x, const LayerContext& context) const override;

 private:
  nn::Linear hidden_, value_, projection_;
  Tensor weight_, bias_;  ///< B and b
  nn::Dropout dropout_;
  std::int64_t heads_, longest_;
  Visibility causal_;
};

}  // namespace gradus::models
