#include "models/gpt/blocks.h"

#include "framework/kernels/elements.h"
#include "framework/ops/ops.h"
#include "framework/tensor/capture.h"
#include "framework/tensor/creation.h"

namespace gradus::models {

Tensor constant_on(Tensor& constant, Device device) {
  const Tensor there = on_device(constant, device);
  if (!current_capture()) constant = there;  // what is recorded has its values only when that runs
  return there;
}

Tensor places_of(const Lengths& lengths, const Shape& shape, Device device) {
  std::vector<std::int64_t> places;
  for (const std::int64_t length : lengths) {
    for (std::int64_t place = 0; place < length; ++place) places.push_back(place);
  }
  return on_device(from_values(shape, places), device);
}

Tensor split_heads(const Tensor& x, std::int64_t heads, const Angles& angles) {
  Tensor apart = reshape(x, {x.size(0), x.size(1), heads, x.size(2) / heads});
  if (angles.cosines.defined()) apart = rotary_embedding(apart, angles.cosines, angles.sines);
  return permute(apart, {0, 2, 1, 3});
}

Tensor merge_heads(const Tensor& x) {
  return reshape(permute(x, {0, 2, 1, 3}), {x.size(0), x.size(2), x.size(1) * x.size(3)});
}

Tensor append(Tensor& cached, const Tensor& fresh, std::int64_t seen, std::int64_t room) {
  const Shape shape = {fresh.size(0), fresh.size(1), room, fresh.size(3)};
  if (!cached.defined()) cached = Tensor::empty(shape, fresh.dtype(), fresh.device());
  const std::int64_t end = seen + fresh.size(2);
  if (end > room) fail("attention: {} positions do not fit a cache for {}", end, room);
  elements::copy(slice(cached, 2, seen, end), fresh);
  return slice(cached, 2, 0, end);
}

CausalSelfAttention::CausalSelfAttention(const AttentionSizes& sizes, nn::Initializer& initializer,
                                         Generator& generator)
    : key_(sizes.width, sizes.width, true, initializer),
      query_(sizes.width, sizes.width, true, initializer),
      value_(sizes.width, sizes.width, true, initializer),
      projection_(sizes.width, sizes.width, true, initializer),
      sizes_(sizes),
      generator_(&generator) {
  register_module("key", key_);
  register_module("query", query_);
  register_module("value", value_);
  register_module("proj", projection_);
}

Tensor CausalSelfAttention::forward(const Tensor& x, const LayerContext& context) const {
  const std::int64_t length = x.size(1);
  AttentionOptions options{.causal = true, .lengths = context.lengths};
  if (is_training() && sizes_.dropout > 0) {
    options.dropout = sizes_.dropout;
    options.seed = static_cast<std::int64_t>(generator_->seed());
    options.stream = static_cast<std::int64_t>(generator_->take_stream());
  }
  const Tensor queries = split_heads(run(query_, x), sizes_.heads, context.angles);
  Tensor keys = split_heads(run(key_, x), sizes_.heads, context.angles),
         values = split_heads(run(value_, x), sizes_.heads);
  if (LayerCache* cache = context.cache) {
    if (cache->seen > 0 && length != 1)
      fail("attention: after {} positions a cache takes one at a time, not {}", cache->seen, length);
    options.causal = cache->seen == 0;  // the one new position sees all
    keys = append(cache->keys, keys, cache->seen, context.room);
    values = append(cache->values, values, cache->seen, context.room);
    cache->seen += length;
  }
  return run(projection_, merge_heads(scaled_dot_product_attention(queries, keys, values, options)));
}

FeedForward::FeedForward(std::int64_t width, nn::Initializer& initializer)
    : expand_(width, 4 * width, true, initializer), contract_(4 * width, width, true, initializer) {
  register_module("0", expand_);
  register_module("2", contract_);
}

Tensor FeedForward::forward(const Tensor& x) const { return run(contract_, gelu(run(expand_, x))); }

Layer::Layer(std::int64_t width, double dropout, nn::Initializer& initializer, Generator& generator)
    : norm1_(width, initializer.dtype),
      norm2_(width, initializer.dtype),
      feed_forward_(width, initializer),
      dropout_(dropout, generator) {}

void Layer::register_parts(nn::Module& attention) {
  register_module("ln1", norm1_);
  register_module("ln2", norm2_);
  register_module("attn", attention);
  register_module("mlp", feed_forward_);
  register_module("drop", dropout_);
}

Tensor Layer::add_and_feed_forward(const Tensor& residual, const Tensor& attended) const {
  const auto [normalised, sum] = run(norm2_, residual, attended, dropout_.draw());
  return run(dropout_, sum, run(feed_forward_, normalised));
}

Block::Block(std::int64_t width, std::unique_ptr<Attention> attention, double dropout, nn::Initializer& initializer,
             Generator& generator)
    : Layer(width, dropout, initializer, generator), attention_(std::move(attention)) {
  register_parts(*attention_);
}

Tensor Block::forward(const Tensor& x, const Tensor&, const LayerContext& context) const {
  return add_and_feed_forward(x, run(*attention_, run(norm1_, x), context));
}

}  // namespace gradus::models
