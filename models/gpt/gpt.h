// The assignment's character models: token and position embeddings, layers, a last LayerNorm and an untied head. What
// the variants do otherwise is in models/rope.h, synthesizer.h and perceiver.h.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "models/gpt/blocks.h"
#include "models/rope.h"

namespace gradus::models {

enum class Variant { vanilla, rope, synthesizer, perceiver, perceiver_ar };

const std::vector<std::string>& variant_names();
std::string to_string(Variant variant);
/// Throws UsageError with the names that there are.
Variant variant_from_string(const std::string& name);

struct GptConfig {
  Variant variant = Variant::vanilla;
  std::int64_t vocabulary_size = 256;
  std::int64_t block_size = 128;  ///< longest sequence
  std::int64_t layers = 4, heads = 8, width = 256;
  std::int64_t latents = 0;  ///< of the perceivers: the assignment's bottleneck_dim
  DropoutRates dropout = {};

  /// Whether rows may hold sequences of several lengths, one after the other.
  bool takes_lengths() const { return variant == Variant::vanilla || variant == Variant::rope; }
  /// Queries and keys are turned by their positions.
  bool is_rotary() const { return variant == Variant::rope || variant == Variant::perceiver_ar; }
  bool is_perceiver() const { return variant == Variant::perceiver || variant == Variant::perceiver_ar; }

  /// Throws UsageError naming the field and its value where the model cannot be built.
  void validate() const;
  /// Elements of all parameters; a double, because a damaged file may ask for any number.
  double parameter_count() const;
  /// Elements of constants that grow with these sizes.
  double constant_count() const;
  /// Longest sequence: block_size, one less for the synthesizer.
  std::int64_t longest() const { return block_size - (variant == Variant::synthesizer ? 1 : 0); }
};

void to_json(nlohmann::json& json, const GptConfig& config);
/// Throws nlohmann::json::exception where a field is missing or of another type.
void from_json(const nlohmann::json& json, GptConfig& config);

/// What decoding need not compute again; empty at first. Belongs to one batch of sequences of one length.
struct KeyValueCache {
  std::vector<LayerCache> layers = {};
};

class Gpt : public nn::Module {
 public:
  /// Initial values are functions of `seed`; the dropout masks of a run follow from it as well. With bf16, parameters
  /// and their gradients are f32, activations and the operands of matrix products bf16.
  Gpt(const GptConfig& config, std::uint64_t seed, DType dtype = DType::f32);

  /// ids (B,T) i64 with T <= block_size -> logits (B,T,vocabulary_size). With `lengths`, each row holds sequences of
  /// these lengths one after the other, every one as if it stood alone: ragged batches as ids (1,N), without padding.
  /// Only where takes_lengths().
  Tensor forward(const Tensor& ids, const Lengths& lengths = {}) const;

  /// Logits (B,T,vocabulary_size) for the characters ids (B,T) that follow those of earlier calls with the same cache,
  /// which are not computed again. After the first call T is 1. Records nothing; all together no more than block_size.
  Tensor decode(const Tensor& ids, KeyValueCache& cache) const;

  bool takes_lengths() const { return config_.takes_lengths(); }
  std::int64_t longest() const { return config_.longest(); }

  /// Whether blocks keep only their inputs for backward, which then computes them again: the same bits, in less memory
  /// and more time. The last block keeps everything: backward begins with it.
  void set_recompute(bool recompute) { recompute_ = recompute; }

  const GptConfig& config() const { return config_; }
  /// Source of the dropout streams; its state belongs into checkpoints.
  Generator& generator() { return generator_; }

 private:
  std::unique_ptr<Layer> make_layer(std::int64_t number);
  void require_fits(std::int64_t length) const;
  /// Position vectors of sequences that follow each other, (1,N,width).
  Tensor positions(const Lengths& lengths) const;

  /// Token and position vectors, (B,T,width), as the layers take them. Positions are undefined for a model without
  /// them.
  Tensor embed(const Tensor& ids, const Tensor& positions) const;
  /// The layers of a model that trains, one after the other.
  Tensor through_layers(const Tensor& input, LayerContext context) const;

  GptConfig config_;
  DType dtype_;
  bool recompute_ = false;
  mutable Generator generator_;
  nn::Initializer initializer_;
  Tensor position_;                            ///< undefined for rope
  std::unique_ptr<const RotaryTable> angles_;  ///< where queries and keys are turned
  nn::Embedding token_;
  nn::Dropout dropout_;
  std::vector<std::unique_ptr<Layer>> layers_;
  nn::LayerNorm norm_;
  nn::Linear head_;
};

}  // namespace gradus::models
