#pragma once

#include <memory>

#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "models/gpt/gpt.h"

namespace gradus {

/// A small model with large random weights: what it says depends on everything that it sees.
inline std::unique_ptr<models::Gpt> random_model(std::int64_t vocabulary_size, std::int64_t block_size) {
  auto model = std::make_unique<models::Gpt>(models::GptConfig{.vocabulary_size = vocabulary_size,
                                                               .block_size = block_size,
                                                               .layers = 2,
                                                               .heads = 2,
                                                               .width = 16,
                                                               .dropout = {}},
                                             5);
  Generator generator(11);
  for (const auto& [name, tensor] : model->named_parameters()) {
    if (name.ends_with("bias") || name.find("ln") != std::string::npos) continue;
    const double deviation = name == "tok_emb.weight" ? 1.0 : 0.4;
    const std::vector<double> values =
        random_normal(tensor.shape(), generator, DType::f64, 0, deviation).to_vector<double>();
    std::copy(values.begin(), values.end(), tensor.mutable_data<float>());
  }
  return model;
}

}  // namespace gradus
