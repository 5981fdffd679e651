#include "tasks/char_lm/continuation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/autograd/modes.h"
#include "framework/base/error.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::tasks {

std::int64_t draw(const std::vector<double>& logits, const SamplingRules& rules, StreamReader& random) {
  std::vector<std::int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return logits[a] > logits[b]; });
  if (rules.temperature == 0) return order[0];
  if (rules.top_k > 0 && rules.top_k < static_cast<std::int64_t>(order.size())) order.resize(rules.top_k);
  std::vector<double> weights;
  for (const std::int64_t id : order) {
    weights.push_back(std::exp((logits[id] - logits[order[0]]) / rules.temperature));
  }
  double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (rules.top_p < 1) {
    double share = 0;
    std::size_t kept = 0;
    while (kept < weights.size() && share < rules.top_p * sum) share += weights[kept++];
    weights.resize(kept);
    sum = share;
  }
  double left = random.next_uniform() * sum;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order[weights.size() - 1];
}

Continuation::Continuation(const models::Gpt& model, std::vector<std::int64_t> prompt, bool cached)
    : model_(&model), ids_(std::move(prompt)) {
  if (ids_.empty()) fail("an empty prompt cannot be continued");
  if (cached) cache_.emplace();
}

std::vector<double> Continuation::next_logits() {
  const NoGradScope no_grad;
  const auto length = static_cast<std::int64_t>(ids_.size());
  if (length > model_->longest()) cache_.reset();
  const std::int64_t fresh = cache_ ? length - seen_ : std::min(length, model_->longest());
  const Tensor given =
      on_device(from_values({1, fresh}, std::vector<std::int64_t>(ids_.end() - fresh, ids_.end())), model_->device());
  const Tensor logits = cache_ ? model_->decode(given, *cache_) : model_->forward(given);
  seen_ = length;
  return slice(logits, 1, fresh - 1, fresh).to_vector<double>();
}

}  // namespace gradus::tasks
