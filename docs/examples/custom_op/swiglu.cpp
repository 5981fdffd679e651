// The whole op: what it computes, its gradient, and what a check tries it on.
#include "swiglu.h"

#include <cmath>

using namespace gradus;

namespace {

const auto logistic = [](auto a) { return 1 / (1 + std::exp(-a)); };

void swiglu_forward(ForwardCall& call) {
  const auto value_of = [](auto gate, auto value) { return gate * logistic(gate) * value; };
  fill_elements(call.output(0), value_of, call.input(0), call.input(1));
}

void swiglu_backward(BackwardCall& call) {
  const Tensor upstream = call.cotangent(), gate = call.input(0), value = call.input(1);
  const auto gradient_of_gate = [](auto u, auto gate, auto value) {
    const auto s = logistic(gate);
    return u * value * (s + gate * s * (1 - s));
  };
  const auto gradient_of_value = [](auto u, auto gate) { return u * gate * logistic(gate); };
  call.set_gradient(0, map_elements(gradient_of_gate, upstream, gate, value));
  call.set_gradient(1, map_elements(gradient_of_value, upstream, gate));
}

/// The same in ops that Gradus has: second derivatives come from it.
Tensors swiglu_reference(const OpCall& call) { return {call.input(0) * sigmoid(call.input(0)) * call.input(1)}; }

std::vector<Sample> swiglu_samples(SampleMaker& make) {
  return {{"matrix", {make.normal({3, 5}), make.normal({3, 5})}},
          {"one gate for each row", {make.normal({3, 1}), make.normal({3, 5})}}};
}

}  // namespace

const OpSpec& swiglu_op() {
  static const OpSpec& op = define_op({
      .name = "swiglu",
      .summary = "Lets a value pass as far as its gate is open.",
      .math = "y = gate s(gate) value with s(a) = 1 / (1 + e^-a)",
      .derivation = "s' = s (1 - s), so the derivative of a s(a) is s + a s (1 - s).",
      .source = "Shazeer 2020, arXiv:2002.05202, equation 6",
      .inputs = {{"gate"}, {"value"}},
      .reference = swiglu_reference,
      .saves = {.all_inputs = true},
      .cpu = {.forward = swiglu_forward, .backward = swiglu_backward},
      .samples = swiglu_samples,
  });
  return op;
}

Tensor swiglu(const Tensor& gate, const Tensor& value, SourceLocation where) {
  return apply(swiglu_op(), {gate, value}, {}, where)[0];
}
