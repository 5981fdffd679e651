#include "models/gpt/blocks.h"

#include "framework/kernels/elements.h"
#include "framework/ops/ops.h"

namespace gradus::models {

CausalSelfAttention::CausalSelfAttention(std::int64_t width, std::int64_t heads, const DropoutRates& rates,
                                         nn::Initializer& initializer, Generator& generator)
    : key_(width, width, true, initializer),
      query_(width, width, true, initializer),
      value_(width, width, true, initializer),
      projection_(width, width, true, initializer),
      heads_(heads),
      attention_dropout_(rates.attention),
      generator_(&generator) {
  register_module("key", key_);
  register_module("query", query_);
  register_module("value", value_);
  register_module("proj", projection_);
}

namespace {

/// Puts what is new, (B,H,T,D), behind what the cache holds; returns all of it.
Tensor append(Tensor& cached, const Tensor& fresh, std::int64_t seen, std::int64_t room) {
  const Shape shape = {fresh.size(0), fresh.size(1), room, fresh.size(3)};
  if (!cached.defined()) cached = Tensor::empty(shape, fresh.dtype(), fresh.device());
  const std::int64_t end = seen + fresh.size(2);
  if (end > room) fail("attention: {} positions do not fit a cache for {}", end, room);
  elements::copy(slice(cached, 2, seen, end), fresh);
  return slice(cached, 2, 0, end);
}

}  // namespace

Tensor CausalSelfAttention::forward(const Tensor& x, const AttentionContext& context) const {
  const std::int64_t batch = x.size(0), length = x.size(1), width = x.size(2);
  const auto split_heads = [&](const Tensor& y) {  // (B,T,C) -> (B,H,T,C/H)
    return permute(reshape(y, {batch, length, heads_, width / heads_}), {0, 2, 1, 3});
  };
  AttentionOptions options{.causal = true, .lengths = context.lengths};
  if (is_training() && attention_dropout_ > 0) {
    options.dropout = attention_dropout_;
    options.seed = static_cast<std::int64_t>(generator_->seed());
    options.stream = static_cast<std::int64_t>(generator_->take_stream());
  }
  const Tensor queries = split_heads(run(query_, x));
  Tensor keys = split_heads(run(key_, x)), values = split_heads(run(value_, x));
  if (LayerCache* cache = context.cache) {
    if (cache->seen > 0 && length != 1)
      fail("attention: after {} positions a cache takes one at a time, not {}", cache->seen, length);
    options.causal = cache->seen == 0;  // the one new position sees all
    keys = append(cache->keys, keys, cache->seen, context.room);
    values = append(cache->values, values, cache->seen, context.room);
    cache->seen += length;
  }
  const Tensor mixed = scaled_dot_product_attention(queries, keys, values, options);
  const Tensor merged = reshape(permute(mixed, {0, 2, 1, 3}), {batch, length, width});
  return run(projection_, merged);
}

FeedForward::FeedForward(std::int64_t width, nn::Initializer& initializer)
    : expand_(width, 4 * width, true, initializer), contract_(4 * width, width, true, initializer) {
  register_module("0", expand_);
  register_module("2", contract_);
}

Tensor FeedForward::forward(const Tensor& x) const { return run(contract_, gelu(run(expand_, x))); }

Block::Block(std::int64_t width, std::int64_t heads, const DropoutRates& rates, nn::Initializer& initializer,
             Generator& generator)
    : norm1_(width, initializer.dtype),
      norm2_(width, initializer.dtype),
      attention_(width, heads, rates, initializer, generator),
      feed_forward_(width, initializer),
      dropout_(rates.residual, generator) {
  register_module("ln1", norm1_);
  register_module("ln2", norm2_);
  register_module("attn", attention_);
  register_module("mlp", feed_forward_);
  register_module("drop", dropout_);
}

Tensor Block::forward(const Tensor& x, const AttentionContext& context) const {
  const Tensor attended = run(attention_, run(norm1_, x), context);
  const auto [normalised, sum] = run(norm2_, x, attended, dropout_.draw());
  return run(dropout_, sum, run(feed_forward_, normalised));
}

}  // namespace gradus::models
