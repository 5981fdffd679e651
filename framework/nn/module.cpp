#include "framework/nn/module.h"

#include <algorithm>
#include <map>

#include "framework/autograd/recompute.h"
#include "framework/kernels/elements.h"

namespace gradus::nn {

NamedTensors Module::named_parameters() const {
  NamedTensors all = parameters_;
  for (const Module* child : children_) {
    for (auto& [name, tensor] : child->named_parameters()) all.emplace_back(child->name_ + "." + name, tensor);
  }
  return all;
}

Tensors Module::parameters() const {
  Tensors all;
  for (auto& [name, tensor] : named_parameters()) all.push_back(tensor);
  return all;
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const Tensor& tensor : parameters()) count += tensor.numel();
  return count;
}

void Module::to(Device device) {
  for (const Tensor& tensor : parameters()) tensor.move_to(device);
}

Device Module::device() const {
  const Tensors all = parameters();
  return all.empty() ? Device{} : all[0].device();
}

void Module::zero_gradients() const {
  for (const Tensor& tensor : parameters()) tensor.set_gradient({});
}

void Module::set_training(bool training) {
  training_ = training;
  for (Module* child : children_) child->set_training(training);
}

Tensor Module::register_parameter(const std::string& name, const Tensor& value) {
  for (const auto& [other, tensor] : parameters_) {
    if (other == name) fail("a module has two parameters named '{}'", name);
  }
  value.set_requires_grad();
  parameters_.emplace_back(name, value);
  return value;
}

void Module::register_module(const std::string& name, Module& child) {
  for (const Module* other : children_) {
    if (other->name_ == name) fail("a module has two children named '{}'", name);
  }
  child.name_ = name;
  children_.push_back(&child);
}

void Module::run_forward_hooks(const Tensor& output) const {
  if (forward_hooks_.empty() || recomputing()) return;
  const FirstRunOnlyScope first_run_only;
  for (const ForwardHook& hook : forward_hooks_) hook(*this, output);
}

void load_parameters(const Module& module, const NamedTensors& values, const std::string& origin) {
  std::map<std::string, Tensor> left(values.begin(), values.end());
  std::string missing, misshaped, unexpected;
  std::vector<std::pair<Tensor, Tensor>> copies;  // (parameter, value)
  const auto list = [](std::string& names, const std::string& name) { names += (names.empty() ? "" : ", ") + name; };
  for (const auto& [name, parameter] : module.named_parameters()) {
    const auto found = left.find(name);
    if (found == left.end()) {
      list(missing, name);
      continue;
    }
    if (found->second.shape() == parameter.shape() && is_floating(found->second.dtype())) {
      copies.emplace_back(parameter, found->second);
    } else {
      list(misshaped, fmt::format("{} (expected {}, found {} {})", name, to_string(parameter.shape()), to_string(found->second.shape()),
                                  to_string(found->second.dtype())));
    }
    left.erase(found);
  }
  for (const auto& [name, tensor] : left) list(unexpected, name);
  std::string trouble;
  if (!missing.empty()) trouble += "; missing: " + missing;
  if (!misshaped.empty()) trouble += "; of another shape: " + misshaped;
  if (!unexpected.empty()) trouble += "; not in the model: " + unexpected;
  if (!trouble.empty()) fail<DataError>("{}: the weights do not fit the model{}", origin, trouble);
  for (const auto& [parameter, value] : copies) {
    parameter.storage().note_write(SourceLocation::current());
    elements::copy(parameter, value);
  }
}

}  // namespace gradus::nn
