#include "framework/optim/adamw.h"

#include <map>

#include "framework/base/plural.h"
#include "framework/kernels/elements.h"
#include "framework/kernels/shared/adamw_step.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"

namespace gradus::optim {

std::string to_string(DecayRule rule) { return rule == DecayRule::assignment ? "assignment" : "standard"; }

DecayRule decay_rule_from_string(const std::string& name) {
  if (name == "assignment") return DecayRule::assignment;
  if (name == "standard") return DecayRule::standard;
  fail<UsageError>("unknown decay rule '{}': expected assignment or standard", name);
}

bool is_decayed(DecayRule rule, const std::string& name, int rank) {
  if (rule == DecayRule::assignment) return name.find("bias") == std::string::npos;
  return rank == 2 && name.ends_with("weight") && name.find("emb") == std::string::npos;
}

AdamW::AdamW(nn::NamedTensors parameters, const AdamWSettings& settings) : settings_(settings) {
  for (auto& [name, parameter] : parameters) {
    slots_.push_back({name, parameter, zeros_like(parameter), zeros_like(parameter), is_decayed(settings.rule, name, parameter.rank())});
  }
}

void AdamW::step(double learning_rate) {
  ++step_count_;
  update({.learning_rate = learning_rate, .step = step_count_});
}

void AdamW::record_step(const Tensor& factors, const Tensor& if_finite) {
  update({.factors = factors, .if_finite = if_finite});
}

Tensor AdamW::next_factors(double learning_rate) const {
  const AdamWStep step = adamw_step(settings_.beta1, settings_.beta2, learning_rate, step_count_ + 1);
  return from_values({3}, std::vector<double>{step.learning_rate, step.rate, step.root}, DType::f64);
}

void AdamW::update(const AdamWOptions& options) {
  const NoGradScope no_grad;
  JointUpdates joint;
  for (const Slot& slot : slots_) {
    const Tensor gradient = slot.parameter.gradient();
    if (!gradient.defined()) continue;
    adamw_step_(slot.parameter, gradient, slot.first_moment, slot.second_moment,
                {.learning_rate = options.learning_rate,
                 .beta1 = settings_.beta1,
                 .beta2 = settings_.beta2,
                 .epsilon = settings_.epsilon,
                 .weight_decay = slot.decayed ? settings_.weight_decay : 0,
                 .step = options.step,
                 .factors = options.factors,
                 .if_finite = options.if_finite});
  }
  joint.finish();
}

Tensors AdamW::gradients() const {
  Tensors gradients;
  for (const Slot& slot : slots_) {
    if (slot.parameter.gradient().defined()) gradients.push_back(slot.parameter.gradient());
  }
  return gradients;
}

nn::NamedTensors AdamW::state() const {
  nn::NamedTensors state;
  for (const Slot& slot : slots_) {
    state.emplace_back("first_moment." + slot.name, slot.first_moment);
    state.emplace_back("second_moment." + slot.name, slot.second_moment);
  }
  return state;
}

void AdamW::load_state(const nn::NamedTensors& state, std::int64_t step_count, const std::string& origin) {
  const std::map<std::string, Tensor> by_name(state.begin(), state.end());
  std::vector<std::pair<Tensor, Tensor>> copies;
  for (const auto& [name, moment] : this->state()) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) fail<DataError>("{}: the optimizer state '{}' is missing", origin, name);
    if (found->second.spec() != moment.spec()) {
      fail<DataError>("{}: the optimizer state '{}' is {}, expected {}", origin, name, found->second.describe(), moment.describe());
    }
    copies.emplace_back(moment, found->second);
  }
  for (const auto& [to, from] : copies) elements::copy(to, from);
  step_count_ = step_count;
}

std::string AdamW::describe() const {
  std::int64_t tensors[2] = {}, elements[2] = {};
  for (const Slot& slot : slots_) {
    ++tensors[slot.decayed];
    elements[slot.decayed] += slot.parameter.numel();
  }
  return fmt::format("decayed by {}: {}, {}; not decayed: {}, {}", settings_.weight_decay, plural(tensors[1], "tensor"),
                     plural(elements[1], "element"), plural(tensors[0], "tensor"), plural(elements[0], "element"));
}

}  // namespace gradus::optim
