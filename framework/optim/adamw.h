// The AdamW optimizer over named parameters, with weight decay chosen by an explicit rule.
#pragma once

#include <string>

#include "framework/nn/module.h"
#include "framework/ops/optimizer_steps.h"

namespace gradus::optim {

/// Which parameters are decayed.
enum class DecayRule {
  assignment,  ///< all but those whose name contains "bias" (the assignment's rule: it decays LayerNorm gains as well)
  standard,    ///< weights of linear layers only: no biases, LayerNorm, embeddings or bare parameters
};

std::string to_string(DecayRule rule);
/// Parses `assignment` or `standard`; throws UsageError.
DecayRule decay_rule_from_string(const std::string& name);

struct AdamWSettings {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weight_decay = 0.1;
  DecayRule rule = DecayRule::assignment;
};

class AdamW {
 public:
  AdamW(nn::NamedTensors parameters, const AdamWSettings& settings);

  /// One update of every parameter that has a gradient.
  void step(double learning_rate);
  /// The same update in work that is recorded, not counted: `factors`, on the parameters' device, will have the
  /// next_factors() of each run. Where the number `if_finite` is not finite, nothing changes.
  void record_step(const Tensor& factors, const Tensor& if_finite);
  /// (3) f64, on the CPU: an AdamWStep of the next update.
  Tensor next_factors(double learning_rate) const;
  /// Counts an update that was run as recorded work.
  void count_step() { ++step_count_; }
  /// Gradients of the parameters that have one, for clipping.
  Tensors gradients() const;

  std::int64_t step_count() const { return step_count_; }
  const AdamWSettings& settings() const { return settings_; }
  /// The moments, as `first_moment.NAME` and `second_moment.NAME`.
  nn::NamedTensors state() const;
  /// Restores what state() gave. Throws DataError naming `origin` where a moment is missing or mis-shaped.
  void load_state(const nn::NamedTensors& state, std::int64_t step_count, const std::string& origin);
  /// `decayed by 0.1: 41 tensors, 3315712 elements; not decayed: 30 tensors, 7680 elements`
  std::string describe() const;

 private:
  struct Slot {
    std::string name;
    Tensor parameter, first_moment, second_moment;
    bool decayed;
  };
  void update(const AdamWOptions& options);

  std::vector<Slot> slots_;
  AdamWSettings settings_;
  std::int64_t step_count_ = 0;
};

/// Whether `rule` decays the parameter `name` of the given rank.
bool is_decayed(DecayRule rule, const std::string& name, int rank);

}  // namespace gradus::optim
