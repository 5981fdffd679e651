#include "models/synthesizer.h"

#include "framework/base/plural.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::models {

SynthesizerAttention::SynthesizerAttention(const AttentionSizes& sizes, std::int64_t longest,
                                           nn::Initializer& initializer, Generator& generator)
    : hidden_(sizes.width, sizes.width, true, initializer),
      value_(sizes.width, sizes.width, true, initializer),
      projection_(sizes.width, sizes.width, true, initializer),
      weight_(register_parameter("w2", random_uniform({sizes.width / sizes.heads, longest}, initializer.generator,
                                                      initializer.dtype, -0.001, 0.001))),
      bias_(register_parameter("b2", zeros({longest}, initializer.dtype))),
      dropout_(sizes.dropout, generator),
      heads_(sizes.heads),
      longest_(longest),
      causal_([](std::int64_t query) { return query; }) {
  register_module("w1", hidden_);
  register_module("value", value_);
  register_module("attn_drop", dropout_);
  register_module("proj", projection_);
}

Tensor SynthesizerAttention::forward(const Tensor& x, const LayerContext& context) const {
  LayerCache* cache = context.cache;
  const std::int64_t seen = cache ? cache->seen : 0, length = x.size(1), end = seen + length;
  if (end > longest_)
    fail("synthesizer: a sequence of {} is longer than the {} that its scores are for", plural(end, "character"), longest_);
  if (seen > 0 && length != 1) fail("attention: after {} positions a cache takes one at a time, not {}", seen, length);
  const auto first = [&](const Tensor& parameter, int axis) {
    const Tensor part = slice(parameter, axis, 0, end);
    return part.dtype() == x.dtype() ? part : cast(part, x.dtype());
  };
  const Tensor features = split_heads(relu(run(hidden_, x)), heads_);  // (B,H,T,C/H)
  const Tensor scores = matmul(features, first(weight_, 1)) + first(bias_, 0);
  Tensor values = split_heads(run(value_, x), heads_);
  if (cache) {
    values = append(cache->values, values, seen, context.room);
    cache->seen = end;
  }
  const Tensor mixed = seen > 0 ? matmul(softmax(scores, -1), values)  // the one new position sees all
                                : mix_values(scores, causal_.hidden(length, end, x.device()), values, dropout_.draw());
  return run(projection_, merge_heads(mixed));
}

}  // namespace gradus::models
