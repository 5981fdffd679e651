#include "framework/testing/through_device.h"

#include "framework/autograd/autograd.h"
#include "framework/kernels/elements.h"
#include "framework/ops/cost.h"

namespace gradus::testing {
namespace {

Tensors moved(const Tensors& tensors, Device device) {
  Tensors there;
  for (const Tensor& tensor : tensors) there.push_back(on_device(tensor, device));
  return there;
}

void run_forward(const OpSpec& spec, Device device, ForwardCall& call) {
  const Tensors inputs = moved(call.inputs(), device);
  const Tensors outputs = apply(spec, inputs, call.attributes(), call.where());
  if (!spec.mutates.empty()) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].defined()) elements::copy(call.input(i), inputs[i]);
    }
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto updated =
        std::find_if(inputs.begin(), inputs.end(), [&](const Tensor& input) { return input.is_same(outputs[i]); });
    call.set_output(
        i, updated == inputs.end() ? on_device(outputs[i].detach(), {}) : call.input(updated - inputs.begin()));
  }
}

void run_backward(const OpSpec& spec, Device device, BackwardCall& call) {
  const GradModeScope recording(true);
  Tensors inputs, wanted;
  for (std::size_t i = 0; i < call.input_count(); ++i) {
    inputs.push_back(call.has_input(i) ? on_device(call.input(i), device).detach() : Tensor());
    if (call.needs(i)) wanted.push_back(inputs[i].set_requires_grad());
  }
  Tensors reached, cotangents;
  const Tensors outputs = apply(spec, inputs, call.attributes());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].requires_grad()) continue;
    reached.push_back(outputs[i]);
    cotangents.push_back(on_device(call.cotangent(i), device));
  }
  const Tensors gradients = grad(reached, wanted, cotangents);
  for (std::size_t i = 0, next = 0; i < call.input_count(); ++i) {
    if (!call.needs(i)) continue;
    const Tensor& gradient = gradients[next++];
    call.set_gradient(i, gradient.defined() ? on_device(gradient.detach(), {}) : gradient);
  }
}

}  // namespace

OpSpec through_device(const OpSpec& spec, Device device) {
  OpSpec there = spec;
  if (spec.is_view) there.cost = [](const OpCall& call) -> Cost { return {0, bytes_of_operands(call)}; };  // copied
  there.is_view = there.serves_every_device = false;
  there.saves.all_inputs = spec.is_differentiable();
  there.cpu = {.forward = [&spec, device](ForwardCall& call) { run_forward(spec, device, call); },
               .bf16 = spec.mutates.empty()};
  if (spec.is_differentiable())
    there.cpu.backward = [&spec, device](BackwardCall& call) { run_backward(spec, device, call); };
  return there;
}

}  // namespace gradus::testing
