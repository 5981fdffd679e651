// The assignment's character GPT ("vanilla"): token and position embeddings, blocks, a last LayerNorm and an untied head.
#pragma once

#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/gpt/blocks.h"

namespace gradus::models {

struct GptConfig {
  std::int64_t vocabulary_size = 256;
  std::int64_t block_size = 128;  ///< longest sequence
  std::int64_t layers = 4, heads = 8, width = 256;
  DropoutRates dropout;

  /// Throws UsageError naming the field and its value where the model cannot be built.
  void validate() const;
  /// Elements of all parameters; a double, because a damaged file may ask for any number.
  double parameter_count() const;
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
  Tensor forward(const Tensor& ids, const Lengths& lengths = {}) const;

  /// Logits (B,T,vocabulary_size) for the characters ids (B,T) that follow those of earlier calls with the same cache,
  /// which are not computed again. After the first call T is 1. Records nothing; all together no more than block_size.
  Tensor decode(const Tensor& ids, KeyValueCache& cache) const;

  /// Whether blocks keep only their inputs for backward, which then computes them again: the same bits, in less memory
  /// and more time. The last block keeps everything: backward begins with it.
  void set_recompute(bool recompute) { recompute_ = recompute; }

  const GptConfig& config() const { return config_; }
  /// Source of the dropout streams; its state belongs into checkpoints.
  Generator& generator() { return generator_; }

 private:
  /// Position vectors of sequences that follow each other, (1,N,width).
  Tensor positions(const Lengths& lengths) const;

  /// Token and position vectors, (B,T,width), as the blocks take them.
  Tensor embed(const Tensor& ids, const Tensor& positions) const;
  /// The blocks of a model that trains, one after the other.
  Tensor through_blocks(Tensor x, const Lengths& lengths) const;

  GptConfig config_;
  DType dtype_;
  bool recompute_ = false;
  mutable Generator generator_;
  nn::Initializer initializer_;
  Tensor position_;
  nn::Embedding token_;
  nn::Dropout dropout_;
  std::vector<std::unique_ptr<Block>> blocks_;
  nn::LayerNorm norm_;
  nn::Linear head_;
};

}  // namespace gradus::models
