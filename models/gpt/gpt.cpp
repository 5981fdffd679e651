#include "models/gpt/gpt.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "framework/autograd/modes.h"
#include "framework/autograd/recompute.h"
#include "framework/base/plural.h"
#include "framework/io/input_file.h"
#include "framework/io/json.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "models/perceiver.h"
#include "models/synthesizer.h"

namespace gradus::models {
namespace {

/// Streams from here on are for dropout; those before are for initial values.
constexpr std::uint64_t first_dropout_stream = std::uint64_t{1} << 32;
constexpr std::int64_t largest_size = std::int64_t{1} << 24;

DType parameter_dtype(DType dtype) { return dtype == DType::bf16 ? DType::f32 : dtype; }

/// Distance of the latents of perceiver-ar, as far as the block has room; 1 for the assignment's.
std::int64_t stride_of(const GptConfig& config) {
  return config.variant == Variant::perceiver_ar ? (config.block_size + config.latents - 1) / config.latents : 1;
}

const GptConfig& validated(const GptConfig& config) {
  config.validate();
  const double bytes = (config.parameter_count() + config.constant_count()) * size_in_bytes(DType::f32);
  if (bytes > double(io::machine_memory()))
    fail<UsageError>("a model of {:.3g} parameters does not fit into this machine's memory", config.parameter_count());
  return config;
}

}  // namespace

const std::vector<std::string>& variant_names() {
  static const std::vector<std::string> names = {"vanilla", "rope", "synthesizer", "perceiver", "perceiver-ar"};
  return names;
}

std::string to_string(Variant variant) { return variant_names()[static_cast<std::size_t>(variant)]; }

Variant variant_from_string(const std::string& name) {
  const auto& names = variant_names();
  const auto found = std::ranges::find(names, name);
  if (found == names.end())
    fail<UsageError>("unknown variant '{}'; it must be one of {}", name, fmt::join(names, ", "));
  return static_cast<Variant>(found - names.begin());
}

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
  if (width % heads != 0) fail<UsageError>("width {} is not divisible by {}", width, plural(heads, "head"));
  if (is_rotary() && width / heads % 2 != 0)
    fail<UsageError>("{} turns pairs of features: width {} / heads {} is odd", to_string(variant), width, heads);
  if (variant == Variant::synthesizer && block_size < 2)
    fail<UsageError>("a synthesizer's sequences are one shorter than block_size, which is {}", block_size);
  if (is_perceiver()) {
    if (latents < 1 || latents > block_size)
      fail<UsageError>("bottleneck_dim must be between 1 and block_size {}, not {}", block_size, latents);
    if (layers < 2)
      fail<UsageError>("a perceiver needs a layer down and one up: layers must be at least 2, not {}", layers);
  } else if (latents != 0) {
    fail<UsageError>("bottleneck_dim belongs to the perceivers; the variant is {}", to_string(variant));
  }
  for (double rate : {dropout.embedding, dropout.residual, dropout.attention}) {
    if (!(rate >= 0 && rate < 1)) fail<UsageError>("dropout must be in [0, 1), not {}", rate);
  }
}

double GptConfig::parameter_count() const {
  const double d = double(width), vocabulary = double(vocabulary_size), longest = double(block_size) - 1;
  double block = 12 * d * d + 13 * d;  // four d x d, two d x 4d, their biases, two LayerNorms
  // A synthesizer has three d x d, and scores from the features of a head.
  if (variant == Variant::synthesizer) block += (d / double(heads) + 1) * longest - d * (d + 1);
  const double positions = variant == Variant::rope ? 0 : double(block_size) * d;
  return positions + 2 * vocabulary * d + double(layers) * block + 2 * d + double(latents) * d;
}

double GptConfig::constant_count() const {
  return is_rotary() ? double(block_size) * double(width) / double(heads) : 0;  // angles
}

void to_json(nlohmann::json& json, const GptConfig& config) {
  json = {{"variant", to_string(config.variant)},
          {"vocabulary_size", config.vocabulary_size},
          {"block_size", config.block_size},
          {"layers", config.layers},
          {"heads", config.heads},
          {"width", config.width},
          {"embedding_dropout", config.dropout.embedding},
          {"residual_dropout", config.dropout.residual},
          {"attention_dropout", config.dropout.attention}};
  if (config.is_perceiver()) json["latents"] = config.latents;
  if (config.variant == Variant::perceiver_ar) json["anchored"] = true;
}

void from_json(const nlohmann::json& json, GptConfig& config) {
  config.variant = variant_from_string(json.value("variant", "vanilla"));  // the first files had no other
  const auto read = [&](const char* field, std::int64_t& value) {
    if (!json.at(field).is_number_integer())
      fail<UsageError>("{} must be a whole number, not {}", field, io::brief(json.at(field)));
    json.at(field).get_to(value);
  };
  read("vocabulary_size", config.vocabulary_size);
  read("block_size", config.block_size);
  read("layers", config.layers);
  read("heads", config.heads);
  read("width", config.width);
  config.latents = 0;
  if (json.contains("latents")) read("latents", config.latents);
  if (config.variant == Variant::perceiver_ar && !json.value("anchored", false))
    fail<UsageError>("the perceiver-ar of an earlier version, whose latents did not begin as the input");
  json.at("embedding_dropout").get_to(config.dropout.embedding);
  json.at("residual_dropout").get_to(config.dropout.residual);
  json.at("attention_dropout").get_to(config.dropout.attention);
}

Gpt::Gpt(const GptConfig& config, std::uint64_t seed, DType dtype)
    : config_(validated(config)),
      dtype_(dtype),
      generator_(seed, first_dropout_stream),
      initializer_{Generator(seed), parameter_dtype(dtype)},
      token_(config.vocabulary_size, config.width, initializer_),
      dropout_(config.dropout.embedding, generator_),
      norm_(config.width, parameter_dtype(dtype)),
      head_(config.width, config.vocabulary_size, false, initializer_) {
  if (config.is_rotary()) {
    angles_ = std::make_unique<RotaryTable>(config.block_size, config.width / config.heads, parameter_dtype(dtype));
  }
  if (config.variant != Variant::rope) {
    position_ = register_parameter("pos_emb", zeros({1, config.block_size, config.width}, parameter_dtype(dtype)));
  }
  register_module("tok_emb", token_);
  register_module("drop", dropout_);
  for (std::int64_t i = 0; i < config.layers; ++i) {
    layers_.push_back(make_layer(i));
    register_module(fmt::format("blocks.{}", i), *layers_.back());
  }
  register_module("ln_f", norm_);
  register_module("head", head_);
}

std::unique_ptr<Layer> Gpt::make_layer(std::int64_t number) {
  const AttentionSizes sizes = {config_.width, config_.heads, config_.dropout.attention};
  const double dropout = config_.dropout.residual;
  if (config_.is_perceiver() && number == 0)
    return std::make_unique<DownProjection>(sizes, config_.latents, stride_of(config_),
                                            config_.variant == Variant::perceiver_ar, dropout, initializer_,
                                            generator_);
  if (config_.is_perceiver() && number == config_.layers - 1)
    return std::make_unique<UpProjection>(sizes, stride_of(config_), dropout, initializer_, generator_);
  std::unique_ptr<Attention> attention;
  if (config_.variant == Variant::synthesizer)
    attention = std::make_unique<SynthesizerAttention>(sizes, longest(), initializer_, generator_);
  else attention = std::make_unique<CausalSelfAttention>(sizes, initializer_, generator_);
  return std::make_unique<Block>(config_.width, std::move(attention), dropout, initializer_, generator_);
}

void Gpt::require_fits(std::int64_t length) const {
  if (length > longest())
    fail("{}: a sequence of {} is longer than the model's {}", to_string(config_.variant),
         plural(length, "character"), longest());
}

Tensor Gpt::positions(const Lengths& lengths) const {
  if (!position_.defined()) return {};
  if (lengths.size() == 1) return slice(position_, 1, 0, lengths[0]);
  const std::int64_t count = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  return embedding(reshape(position_, {config_.block_size, config_.width}),
                   places_of(lengths, {1, count}, position_.device()));
}

Tensor Gpt::embed(const Tensor& ids, const Tensor& positions) const {
  const Tensor tokens = run(token_, ids);
  const Tensor x = run(dropout_, positions.defined() ? tokens + positions : tokens);
  return x.dtype() == dtype_ ? x : cast(x, dtype_);
}

Tensor Gpt::forward(const Tensor& ids, const Lengths& lengths) const {
  if (ids.rank() != 2) fail("gpt: ids must have the shape (batch, length), not {}", gradus::to_string(ids.shape()));
  if (!lengths.empty() && !takes_lengths())
    fail("{}: sequences must be rows of one length, with padding", to_string(config_.variant));
  const Lengths of_rows = lengths.empty() ? Lengths{ids.size(1)} : lengths;
  for (const std::int64_t length : of_rows) require_fits(length);
  const Tensor input = embed(ids, positions(of_rows));
  LayerContext context{.lengths = lengths};
  if (angles_) context.angles = context.input_angles = angles_->of(of_rows, input.device());
  if (angles_ && config_.is_perceiver())
    context.latent_angles = angles_->range(0, ids.size(1), input.device(), stride_of(config_));
  return run(head_, run(norm_, through_layers(input, context)));
}

Tensor Gpt::through_layers(const Tensor& input, LayerContext context) const {
  Tensor x = input;
  for (const auto& layer : layers_) {
    if (recompute_ && layer != layers_.back()) {
      const auto body = [this, layer = layer.get(), context](const Tensor& given) {
        return run(*layer, given, given, context);
      };
      x = recompute(body, x);
    } else {
      x = run(*layer, x, input, context);
    }
    if (config_.is_perceiver()) context.angles = context.latent_angles;
  }
  return x;
}

Tensor Gpt::decode(const Tensor& ids, KeyValueCache& cache) const {
  if (ids.rank() != 2) fail("gpt: ids must have the shape (batch, length), not {}", gradus::to_string(ids.shape()));
  const NoGradScope no_grad;
  cache.layers.resize(layers_.size());
  const std::int64_t seen = cache.layers[0].seen, end = seen + ids.size(1);
  require_fits(end);
  const Tensor input = embed(ids, position_.defined() ? slice(position_, 1, seen, end) : Tensor());
  LayerContext context{.room = config_.block_size};
  if (angles_) context.angles = context.input_angles = angles_->range(seen, end, input.device());
  if (angles_ && config_.is_perceiver()) {
    const std::int64_t stride = stride_of(config_);
    context.latent_angles = angles_->range((seen + stride - 1) / stride * stride, end, input.device(), stride);
  }
  Tensor x = input;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    context.cache = &cache.layers[i];
    const bool is_last = i + 1 == layers_.size();
    if (x.size(1) == 0 && !is_last) continue;  // a perceiver without a latent at the new position
    x = run(*layers_[i], x, input, context);
    if (config_.is_perceiver()) context.angles = context.latent_angles;
  }
  return run(head_, run(norm_, x));
}

}  // namespace gradus::models
