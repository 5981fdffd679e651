#include "models/gpt/visibility.h"

#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "models/gpt/blocks.h"

namespace gradus::models {

Tensor Visibility::hidden(std::int64_t queries, std::int64_t keys, Device device) const {
  Tensor& mask = masks_[{queries, keys}];
  if (!mask.defined()) {
    std::vector<std::int64_t> hidden;
    for (std::int64_t query = 0; query < queries; ++query) {
      const std::int64_t last = last_visible_(query);
      for (std::int64_t key = 0; key < keys; ++key) hidden.push_back(key > last);
    }
    mask = from_values({queries, keys}, hidden, DType::boolean);
  }
  return constant_on(mask, device);
}

Tensor mix_values(const Tensor& scores, const Tensor& hidden, const Tensor& values, const DropoutDraw& draw) {
  const Tensor weights = softmax(masked_fill(scores, hidden, -1e10), -1);
  return matmul(draw.probability > 0 ? dropout(weights, draw.probability, draw.seed, draw.stream) : weights, values);
}

}  // namespace gradus::models
