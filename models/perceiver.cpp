#include "models/perceiver.h"

#include <algorithm>
#include <cmath>

#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::models {

CrossAttention::CrossAttention(const AttentionSizes& sizes, Latents latents, std::int64_t stride,
                               nn::Initializer& initializer, Generator& generator)
    : key_(sizes.width, sizes.width, true, initializer),
      query_(sizes.width, sizes.width, true, initializer),
      value_(sizes.width, sizes.width, true, initializer),
      projection_(sizes.width, sizes.width, true, initializer),
      sizes_(sizes),
      dropout_(sizes.dropout, generator),
      stride_(stride),
      visibility_([latents, stride](std::int64_t query) {
        return latents == Latents::queries ? query * stride : query / stride;
      }) {
  register_module("key", key_);
  register_module("query", query_);
  register_module("value", value_);
  register_module("attn_drop", dropout_);
  register_module("proj", projection_);
}

Tensor CrossAttention::forward(const Tensor& keys_and_values, const Angles& of_keys, const Tensor& queries,
                               const Angles& of_queries, const LayerContext& context) const {
  LayerCache* cache = context.cache;
  const bool sees_all = cache && cache->seen > 0;
  Tensor k, v;
  if (keys_and_values.size(1) > 0) {
    k = split_heads(run(key_, keys_and_values), sizes_.heads, of_keys);
    v = split_heads(run(value_, keys_and_values), sizes_.heads);
  }
  if (cache) {
    k = k.defined() ? append(cache->keys, k, cache->seen, context.room) : slice(cache->keys, 2, 0, cache->seen);
    v = v.defined() ? append(cache->values, v, cache->seen, context.room) : slice(cache->values, 2, 0, cache->seen);
    cache->seen += keys_and_values.size(1);
  }
  if (queries.size(1) == 0) return queries;
  Tensor projected = run(query_, queries);
  if (queries.size(0) != k.size(0)) projected = broadcast_to(projected, {k.size(0), queries.size(1), queries.size(2)});
  const Tensor q = split_heads(projected, sizes_.heads, of_queries);
  const DropoutDraw draw = dropout_.draw();
  Tensor mixed;
  if (stride_ == 1 || sees_all) {
    mixed = scaled_dot_product_attention(
        q, k, v, {.causal = !sees_all, .dropout = draw.probability, .seed = draw.seed, .stream = draw.stream});
  } else {
    const Tensor scores = matmul(q * (1 / std::sqrt(double(q.size(3)))), transpose(k));
    mixed = mix_values(scores, visibility_.hidden(q.size(2), k.size(2), q.device()), v, draw);
  }
  return run(projection_, merge_heads(mixed));
}

DownProjection::DownProjection(const AttentionSizes& sizes, std::int64_t latents, std::int64_t stride, bool anchored,
                               double dropout, nn::Initializer& initializer, Generator& generator)
    : Layer(sizes.width, dropout, initializer, generator),
      basis_([&] {
        // Xavier's, as the course's framework has it for three axes: fan in latents * width, fan out width.
        const double bound = std::sqrt(6.0 / double((latents + 1) * sizes.width));
        return register_parameter(
            "C", random_uniform({1, latents, sizes.width}, initializer.generator, initializer.dtype, -bound, bound));
      }()),
      stride_(stride),
      anchored_(anchored),
      attention_(sizes, CrossAttention::Latents::queries, stride, initializer, generator) {
  register_parts(attention_);
}

Tensor DownProjection::forward(const Tensor& x, const Tensor&, const LayerContext& context) const {
  Tensor basis = basis_.dtype() == x.dtype() ? basis_ : cast(basis_, x.dtype());
  const std::int64_t seen = context.cache ? context.cache->seen : 0;
  const auto latents_before = [&](std::int64_t position) {
    return std::min(basis_.size(1), (position + stride_ - 1) / stride_);
  };
  const std::int64_t first = latents_before(seen), last = latents_before(seen + x.size(1));
  Tensor latents = slice(basis, 1, first, last);
  if (anchored_ && last > first) latents = latents + slice(x, 1, first * stride_ - seen, x.size(1), stride_);
  const Tensor attended = run(attention_, x, context.angles, run(norm1_, latents), context.latent_angles, context);
  if (last == first) return attended;
  return add_and_feed_forward(broadcast_to(latents, {x.size(0), last - first, latents.size(2)}), attended);
}

UpProjection::UpProjection(const AttentionSizes& sizes, std::int64_t stride, double dropout,
                           nn::Initializer& initializer, Generator& generator)
    : Layer(sizes.width, dropout, initializer, generator),
      attention_(sizes, CrossAttention::Latents::keys, stride, initializer, generator) {
  register_parts(attention_);
}

Tensor UpProjection::forward(const Tensor& x, const Tensor& input, const LayerContext& context) const {
  return add_and_feed_forward(input,
                              run(attention_, run(norm1_, x), context.angles, input, context.input_angles, context));
}

}  // namespace gradus::models
