#include "tasks/char_lm/sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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

}  // namespace gradus::tasks
