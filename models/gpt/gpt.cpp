#include "models/gpt/gpt.h"

#include "framework/autograd/modes.h"
#include "framework/autograd/recompute.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::models {
namespace {

/// Streams from here on are for dropout; those before are for initial values.
constexpr std::uint64_t first_dropout_stream = std::uint64_t{1} << 32;
constexpr std::int64_t largest_size = std::int64_t{1} << 24;

DType parameter_dtype(DType dtype) { return dtype == DType::bf16 ? DType::f32 : dtype; }

const GptConfig& validated(const GptConfig& config) {
  config.validate();
  return config;
}

}  // namespace

void GptConfig::validate() const {
  const auto positive = [](const char* field, std::int64_t value) {
    if (value < 1) fail<UsageError>("{} must be at least 1, not {}", field, value);
    if (value > largest_size) fail<UsageError>("{} must be at most {}, not {}", field, largest_size, value);
  };
  positive("vocabulary_size", vocabulary_size);
  positive("block_size", block_size);
  positive("layers", layers);
  positive("heads", heads);
  positive("width", width);
  if (width % heads != 0) fail<UsageError>("width {} is not divisible by {} heads", width, heads);
  for (double rate : {dropout.embedding, dropout.residual, dropout.attention}) {
    if (!(rate >= 0 && rate < 1)) fail<UsageError>("dropout must be in [0, 1), not {}", rate);
  }
}

double GptConfig::parameter_count() const {
  const double d = double(width), vocabulary = double(vocabulary_size);
  const double block = 12 * d * d + 13 * d;  // four d x d, two d x 4d, their biases, two LayerNorms
  return double(block_size) * d + 2 * vocabulary * d + double(layers) * block + 2 * d;
}

void to_json(nlohmann::json& json, const GptConfig& config) {
  json = {{"vocabulary_size", config.vocabulary_size}, {"block_size", config.block_size}, {"layers", config.layers},
          {"heads", config.heads}, {"width", config.width}, {"embedding_dropout", config.dropout.embedding},
          {"residual_dropout", config.dropout.residual}, {"attention_dropout", config.dropout.attention}};
}

void from_json(const nlohmann::json& json, GptConfig& config) {
  json.at("vocabulary_size").get_to(config.vocabulary_size);
  json.at("block_size").get_to(config.block_size);
  json.at("layers").get_to(config.layers);
  json.at("heads").get_to(config.heads);
  json.at("width").get_to(config.width);
  json.at("embedding_dropout").get_to(config.dropout.embedding);
  json.at("residual_dropout").get_to(config.dropout.residual);
  json.at("attention_dropout").get_to(config.dropout.attention);
}

Gpt::Gpt(const GptConfig& config, std::uint64_t seed, DType dtype)
    : config_(validated(config)),
      dtype_(dtype),
      generator_(seed, first_dropout_stream),
      initializer_{Generator(seed), parameter_dtype(dtype)},
      position_(register_parameter("pos_emb", zeros({1, config.block_size, config.width}, parameter_dtype(dtype)))),
      token_(config.vocabulary_size, config.width, initializer_),
      dropout_(config.dropout.embedding, generator_),
      norm_(config.width, parameter_dtype(dtype)),
      head_(config.width, config.vocabulary_size, false, initializer_) {
  register_module("tok_emb", token_);
  register_module("drop", dropout_);
  for (std::int64_t i = 0; i < config.layers; ++i) {
    blocks_.push_back(std::make_unique<Block>(config.width, config.heads, config.dropout, initializer_, generator_));
    register_module(fmt::format("blocks.{}", i), *blocks_.back());
  }
  register_module("ln_f", norm_);
  register_module("head", head_);
}

Tensor Gpt::positions(const Lengths& lengths) const {
  for (const std::int64_t length : lengths) {
    if (length > config_.block_size)
      fail("gpt: a sequence of {} characters is longer than the model's {}", length, config_.block_size);
  }
  if (lengths.size() == 1) return slice(position_, 1, 0, lengths[0]);
  std::vector<std::int64_t> places;
  for (const std::int64_t length : lengths) {
    for (std::int64_t place = 0; place < length; ++place) places.push_back(place);
  }
  const Tensor table = reshape(position_, {config_.block_size, config_.width});
  return embedding(table,
                   on_device(from_values({1, static_cast<std::int64_t>(places.size())}, places), table.device()));
}

Tensor Gpt::embed(const Tensor& ids, const Tensor& positions) const {
  const Tensor x = run(dropout_, run(token_, ids) + positions);
  return x.dtype() == dtype_ ? x : cast(x, dtype_);
}

Tensor Gpt::forward(const Tensor& ids, const Lengths& lengths) const {
  if (ids.rank() != 2) fail("gpt: ids must have the shape (batch, length), not {}", to_string(ids.shape()));
  const Tensor x = embed(ids, positions(lengths.empty() ? Lengths{ids.size(1)} : lengths));
  return run(head_, run(norm_, through_blocks(x, lengths)));
}

Tensor Gpt::through_blocks(Tensor x, const Lengths& lengths) const {
  for (const auto& block : blocks_) {
    const auto body = [this, block = block.get(), lengths](const Tensor& input) {
      return run(*block, input, AttentionContext{.lengths = lengths});
    };
    x = recompute_ && block != blocks_.back() ? recompute(body, x) : body(x);
  }
  return x;
}

Tensor Gpt::decode(const Tensor& ids, KeyValueCache& cache) const {
  if (ids.rank() != 2) fail("gpt: ids must have the shape (batch, length), not {}", to_string(ids.shape()));
  const NoGradScope no_grad;
  cache.layers.resize(blocks_.size());
  const std::int64_t seen = cache.layers[0].seen, end = seen + ids.size(1);
  if (end > config_.block_size)
    fail("gpt: a sequence of {} characters is longer than the model's {}", end, config_.block_size);
  Tensor x = embed(ids, slice(position_, 1, seen, end));
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    x = run(*blocks_[i], x, AttentionContext{.cache = &cache.layers[i], .room = config_.block_size});
  }
  return run(head_, run(norm_, x));
}

}  // namespace gradus::models
