#include "framework/ops/copies.h"

#include "framework/kernels/elements.h"
#include "framework/ops/cost.h"
#include "framework/ops/moved_elements.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {

const OpSpec& clone_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "clone";
    spec.summary = "A packed copy.";
    spec.math = "y = x";
    spec.derivation = "dy/dx = 1.";
    spec.inputs = {{"x"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> { return {call.input(0).spec()}; };
    spec.reference = [](const OpCall& call) -> Tensors {
      return {from_values(call.input(0).shape(), call.input(0).to_vector<double>(), call.input(0).dtype())};
    };
    spec.cpu.bf16 = true;
    spec.serves_every_device = true;
    spec.cpu.forward = [](ForwardCall& call) { elements::copy(call.output(0), call.input(0)); };
    spec.backward_composite = [](BackwardCall& call) { call.set_gradient(0, call.cotangent()); };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> { return {{"matrix", {make.normal({3, 5})}, {}}}; };
    spec.edge_samples = [](SampleMaker& make) { return special_values_sample(make, {}); };
    spec.error_model.roundings = no_rounding;
    spec.cost = [](const OpCall& call) -> Cost { return {0, bytes_of_operands(call)}; };
    return spec;
  }();
  return op;
}

const OpSpec& cast_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "cast";
    spec.summary = "Converts the dtype.";
    spec.math = "y = x, rounded to the new type";
    spec.derivation = "Rounding is treated as the identity: the gradient is the cotangent in the dtype of x.";
    spec.pitfalls = "Float to integer truncates towards 0 and has no gradient.";
    spec.inputs = {{"x"}};
    spec.attributes = {{"dtype", std::string("f32"), "f64, f32, bf16, i64, i32, u8 or bool"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      return {{call.input(0).shape(), dtype_from_string(call.attributes().text("dtype"))}};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      return {from_values(call.input(0).shape(), call.input(0).to_vector<double>(),
                          dtype_from_string(call.attributes().text("dtype")))};
    };
    spec.cpu.bf16 = true;
    spec.serves_every_device = true;
    spec.cpu.forward = [](ForwardCall& call) { elements::copy(call.output(0), call.input(0)); };
    spec.backward_composite = [](BackwardCall& call) {
      call.set_gradient(0, cast(call.cotangent(), call.input_spec(0).dtype));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"to f64", {make.normal({3, 5})}, {{"dtype", std::string("f64")}}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      std::vector<Sample> samples = special_values_sample(make, {{"dtype", std::string("f32")}});
      samples.push_back({"to bf16", {make.normal({7})}, {{"dtype", std::string("bf16")}}});
      samples.push_back({"to i64", {make.uniform({7}, -9, 9)}, {{"dtype", std::string("i64")}}});
      samples.push_back({"to bool", {make.values({3}, {0, -0.0, 2})}, {{"dtype", std::string("bool")}}});
      return samples;
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"name", {make.normal({3})}, {{"dtype", std::string("f16")}}, "unknown dtype 'f16'"}};
    };
    spec.error_model.roundings = [](const OpCall&) { return 1.0; };
    spec.cost = [](const OpCall& call) -> Cost { return {0, bytes_of_operands(call)}; };
    return spec;
  }();
  return op;
}

Tensor clone(const Tensor& x, SourceLocation where) { return apply(clone_op(), {x}, {}, where)[0]; }
Tensor cast(const Tensor& x, DType dtype, SourceLocation where) {
  if (x.defined() && x.dtype() == dtype) return x;
  return apply(cast_op(), {x}, {{"dtype", std::string(to_string(dtype))}}, where)[0];
}

}  // namespace gradus
