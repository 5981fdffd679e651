// What of an AdamW update differs from step to step.
#pragma once

#include <cmath>
#include <cstdint>

namespace gradus {

struct AdamWStep {
  double learning_rate;
  double rate;  ///< learning_rate / (1 - beta1^t)
  double root;  ///< 1 / sqrt(1 - beta2^t)
};

/// Of step t, counted from 1.
inline AdamWStep adamw_step(double beta1, double beta2, double learning_rate, std::int64_t t) {
  const double correction1 = 1 - std::pow(beta1, t), correction2 = 1 - std::pow(beta2, t);
  return {learning_rate, learning_rate / correction1, 1 / std::sqrt(correction2)};
}

}  // namespace gradus
