#include <algorithm>

#include "framework/autograd/autograd.h"
#include "framework/base/plural.h"
#include "framework/kernels/elements.h"
#include "framework/ops/decisions.h"
#include "framework/ops/device_kernels.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/memory_origin.h"

namespace gradus {
namespace {

bool contains(const std::vector<int>& list, std::size_t i) {
  return std::find(list.begin(), list.end(), static_cast<int>(i)) != list.end();
}

const InputSpec& input_spec_of(const OpSpec& spec, std::size_t i) {
  return spec.inputs[std::min(i, spec.inputs.size() - 1)];
}

/// A second handle on the same place in the tape, so that a gradient can be asked for one use of a tensor.
Tensor same_place(const Tensor& tensor, bool needs) {
  if (!tensor.defined()) return tensor;
  return needs ? identity(tensor) : tensor.detach();
}

bool has_bf16(const Tensors& tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const Tensor& t) { return t.defined() && t.dtype() == DType::bf16; });
}

/// The tensors, those of dtype `from` as copies of dtype `to`.
Tensors converted(const Tensors& tensors, DType from, DType to) {
  Tensors result = tensors;
  for (Tensor& tensor : result) {
    if (tensor.defined() && tensor.dtype() == from) tensor = elements::contiguous(tensor, to);
  }
  return result;
}

/// The same for one tensor, as a step that can be differentiated.
Tensor read_as_f32(const Tensor& tensor, bool in_f32) {
  return in_f32 && tensor.defined() && tensor.dtype() == DType::bf16 ? cast(tensor, DType::f32) : tensor;
}

void check_outputs_finite(const OpCall& call, const Tensors& outputs) {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (elements::all_finite(outputs[i])) continue;
    std::string inputs;
    for (std::size_t k = 0; k < call.inputs().size(); ++k) {
      if (!call.has_input(k)) continue;
      inputs += fmt::format("{}{} {}", inputs.empty() ? "" : "; ", call.input_name(k), describe_range(call.input(k)));
    }
    fail<NumericError>("[{}] output '{}' is not finite: {}; inputs: {} at {}", call.spec().name, call.output_name(i),
                       describe_range(outputs[i]), inputs, describe_place(call.where()));
  }
}

/// Inputs that the op writes into, with a variadic one spelled out.
std::vector<std::size_t> mutated_inputs(const OpCall& call) {
  std::vector<std::size_t> mutated;
  for (int i : call.spec().mutates) {
    const bool variadic = call.spec().inputs[i].variadic;
    for (std::size_t k = i; k < (variadic ? call.inputs().size() : i + 1); ++k) mutated.push_back(k);
  }
  return mutated;
}

}  // namespace

bool OpSpec::is_differentiable() const {
  return mutates.empty() &&
         std::any_of(inputs.begin(), inputs.end(), [](const InputSpec& input) { return input.differentiable; });
}

// --- OpCall ---------------------------------------------------------------------------------------------------------

OpCall::OpCall(const OpSpec& spec, Tensors inputs, Attributes attributes, SourceLocation where)
    : spec_(&spec), inputs_(std::move(inputs)), attributes_(std::move(attributes)), where_(where) {}

Device OpCall::device() const {
  for (const Tensor& input : inputs_) {
    if (input.defined()) return input.device();
  }
  return {};
}

std::string OpCall::input_name(std::size_t i) const {
  const InputSpec& input = input_spec_of(*spec_, i);
  return input.variadic ? fmt::format("{}[{}]", input.name, i + 1 - spec_->inputs.size()) : input.name;
}

std::string OpCall::output_name(std::size_t i) const {
  return spec_->outputs[std::min(i, spec_->outputs.size() - 1)];
}

void OpCall::fail_with(const std::string& what) const {
  std::string context;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (has_input(i)) context += fmt::format("{}{} {}", context.empty() ? "" : ", ", input_name(i), inputs_[i].describe());
  }
  if (!attributes_.empty()) context += (context.empty() ? "" : ", ") + to_string(attributes_);
  gradus::fail("[{}] {}: {} at {}", spec_->name, what, context, describe_place(where_));
}

void OpCall::require_compute_dtype(std::size_t i) const {
  const DType dtype = input(i).dtype();
  if (!is_floating(dtype)) fail("{} must be f32, f64 or bf16, not {}", input_name(i), to_string(dtype));
}

void OpCall::require_parameter_dtype(std::size_t i, std::size_t j) const {
  if (input(i).dtype() != DType::bf16 || input(j).dtype() != DType::f32) require_same_dtype(i, j);
}

void OpCall::require_same_dtype(std::size_t i, std::size_t j) const {
  if (input(i).dtype() != input(j).dtype()) {
    fail("dtypes differ ({} is {}, {} is {}); cast one of them", input_name(i), to_string(input(i).dtype()),
         input_name(j), to_string(input(j).dtype()));
  }
}

void OpCall::require_dtype(std::size_t i, DType dtype) const {
  if (input(i).dtype() != dtype) fail("{} must be {}, not {}", input_name(i), to_string(dtype), to_string(input(i).dtype()));
}

void OpCall::require_rank(std::size_t i, int rank) const {
  if (input(i).rank() != rank) fail("{} must have {}, not {}", input_name(i), plural(rank, "axis", "axes"), input(i).rank());
}

int OpCall::axis(const std::string& attribute, int rank) const {
  const std::int64_t axis = integer(attribute);
  if (axis < -rank || axis >= rank) fail("{} {} is outside a tensor of {}", attribute, axis, plural(rank, "axis", "axes"));
  return normalize_axis(axis, rank);
}

// --- ForwardCall ----------------------------------------------------------------------------------------------------

ForwardCall::ForwardCall(OpCall call, std::vector<TensorSpec> promised, bool will_run_backward)
    : OpCall(std::move(call)), promised_(std::move(promised)), will_run_backward_(will_run_backward), outputs_(promised_.size()) {}

void ForwardCall::check_output(std::size_t i) const {
  if (i >= promised_.size()) fail("output {} is asked for, infer promised {}", i, promised_.size());
}

const Tensor& ForwardCall::output(std::size_t i) {
  check_output(i);
  if (!outputs_[i].defined()) outputs_[i] = Tensor::empty(promised_[i].shape, promised_[i].dtype, device());
  return outputs_[i];
}

void ForwardCall::set_output(std::size_t i, Tensor tensor) {
  check_output(i);
  // The output gets a place of its own in the tape: an input, or a tensor with a history, must keep the one it has.
  const bool is_input =
      std::any_of(inputs().begin(), inputs().end(), [&](const Tensor& input) { return input.is_same(tensor); });
  if (spec().mutates.empty() && tensor.defined() && (is_input || tensor.meta())) tensor = tensor.alias();
  outputs_[i] = std::move(tensor);
}

Tensors ForwardCall::take_outputs() {
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const TensorSpec& promised = promised_[i];
    if (!outputs_[i].defined() && promised.shape.numel() > 0) fail("forward left output '{}' unset", output_name(i));
    if (output(i).spec() != promised) {
      fail("forward returned {} for output '{}' where {} {} was promised", outputs_[i].describe(), output_name(i),
           to_string(promised.shape), to_string(promised.dtype));
    }
  }
  return std::move(outputs_);
}

// --- apply ----------------------------------------------------------------------------------------------------------

OpCall make_call(const OpSpec& spec, Tensors inputs, Attributes attributes, SourceLocation where) {
  for (const auto& [name, value] : attributes) {
    if (std::none_of(spec.attributes.begin(), spec.attributes.end(), [&](const AttributeSpec& a) { return a.name == name; })) {
      fail("[{}] has no attribute '{}' at {}", spec.name, name, describe_place(where));
    }
  }
  for (const AttributeSpec& attribute : spec.attributes) {
    const AttributeValue* given = attributes.find(attribute.name);
    if (!given) attributes.set(attribute.name, attribute.default_value);
    else if (given->index() != attribute.default_value.index()) {
      fail("[{}] attribute '{}' cannot be {} at {}", spec.name, attribute.name, to_string(*given), describe_place(where));
    }
  }
  OpCall call(spec, std::move(inputs), std::move(attributes), where);
  const std::size_t named = spec.inputs.size();
  const bool variadic = named > 0 && spec.inputs.back().variadic;
  const std::size_t count = call.inputs().size();
  if (variadic ? count + 1 < named : count != named) {
    fail("[{}] takes {}{} inputs, {} were given at {}", spec.name, variadic ? "at least " : "", variadic ? named - 1 : named,
         count, describe_place(where));
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (!call.has_input(i) && !input_spec_of(spec, i).optional) {
      fail("[{}] input '{}' is undefined at {}", spec.name, call.input_name(i), describe_place(where));
    }
  }
  for (const Tensor& input : call.inputs()) {
    if (input.defined() && input.device() != call.device()) call.fail("inputs are on different devices");
  }
  return call;
}

Tensors apply(const OpSpec& spec, Tensors inputs, Attributes attributes, SourceLocation where) {
  const MemoryOriginScope origin({spec.name, where});
  OpCall call = make_call(spec, std::move(inputs), std::move(attributes), where);
  bool record = false;
  for (std::size_t i = 0; i < call.inputs().size(); ++i) {
    record |= call.has_input(i) && call.input(i).requires_grad() && input_spec_of(spec, i).differentiable;
  }
  record &= grad_enabled();
  if (!spec.mutates.empty()) {
    for (std::size_t i : mutated_inputs(call)) {
      if (call.input(i).requires_grad() && grad_enabled()) {
        call.fail("'{}' requires grad and would be modified in place; wrap the call in a NoGradScope", call.input_name(i));
      }
    }
    record = false;
  }
  GradModeScope recording(false);
  std::vector<TensorSpec> promised = spec.infer(call);
  if (spec.mutates.empty() && promised.size() != spec.outputs.size()) {
    call.fail("infer promised {} outputs, the record names {}", promised.size(), spec.outputs.size());
  }
  const DeviceKernels& kernels = kernels_of(spec, call.device());
  const bool in_f32 = has_bf16(call.inputs()) && !kernels.bf16 && !spec.is_view;
  if (in_f32 && !spec.mutates.empty()) call.fail("bf16 tensors are not updated in place: keep what is updated in f32");
  const OpCall run =
      in_f32 ? OpCall(spec, converted(call.inputs(), DType::bf16, DType::f32), call.attributes(), where) : call;
  ForwardCall forward(run, in_f32 ? spec.infer(run) : promised, record);
  kernels.forward(forward);
  Tensors outputs = forward.take_outputs();
  for (std::size_t i = 0; in_f32 && i < outputs.size(); ++i)
    outputs[i] = elements::contiguous(outputs[i], promised[i].dtype);
  for (std::size_t i : mutated_inputs(call)) call.input(i).storage().note_write(where);
  if (anomaly_enabled()) check_outputs_finite(call, outputs);
  if (decisions_wanted() && spec.decisions) note_decisions(spec.decisions(call));
  if (record) {
    const auto node = std::make_shared<OpNode>(call, outputs, forward.take_saved());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (is_floating(outputs[i].dtype())) set_producer(outputs[i], node, static_cast<int>(i));
    }
  }
  return outputs;
}

Tensors apply_reference(const OpSpec& spec, Tensors inputs, Attributes attributes, SourceLocation where) {
  const OpCall call = make_call(spec, std::move(inputs), std::move(attributes), where);
  spec.infer(call);
  return spec.reference(call);
}

// --- OpNode ---------------------------------------------------------------------------------------------------------

OpNode::OpNode(const OpCall& call, const Tensors& outputs, Tensors saved)
    : Node(call.spec().name, call.where()), spec_(call.spec()), attributes_(call.attributes()), device_(call.device()) {
  static const bool installed = [] {
    install_engine_ops({[](const Tensor& a, const Tensor& b) { return gradus::add(a, b); },
                        [](const Tensor& tensor, const Shape& shape) { return gradus::sum_to_shape(tensor, shape); }});
    return true;
  }();
  (void)installed;
  for (std::size_t i = 0; i < call.inputs().size(); ++i) {
    const Tensor& input = call.input(i);
    edges.push_back(input_spec_of(spec_, i).differentiable ? gradient_edge(input) : Edge{});
    inputs.push_back(input.defined() ? input.spec() : TensorSpec{{}, DType::f32});
    input_devices.push_back(input.defined() ? input.device() : Device{});
    input_defined_.push_back(input.defined());
    const bool keep = spec_.saves.all_inputs || contains(spec_.saves.inputs, std::min(i, spec_.inputs.size() - 1));
    saved_inputs_.push_back(keep ? SavedTensor::input(input) : SavedTensor());
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    outputs_.push_back(outputs[i].spec());
    saved_outputs_.push_back(contains(spec_.saves.outputs, i) ? SavedTensor::output(outputs[i], int(i)) : SavedTensor());
  }
  for (Tensor& tensor : saved) saved_.push_back(SavedTensor::input(tensor));
}

bool OpNode::has_bf16_input() const {
  return std::any_of(inputs.begin(), inputs.end(), [](const TensorSpec& input) { return input.dtype == DType::bf16; });
}

void OpNode::release_saved() {
  for (auto* list : {&saved_inputs_, &saved_outputs_, &saved_}) {
    for (SavedTensor& tensor : *list) tensor.release();
  }
}

std::string OpNode::input_name(std::size_t i) const {
  const InputSpec& input = input_spec_of(spec_, i);
  return input.variadic ? fmt::format("{}[{}]", input.name, i + 1 - spec_.inputs.size()) : input.name;
}

Tensor OpNode::unpack_input(std::size_t i) {
  const bool kept = spec_.saves.all_inputs || contains(spec_.saves.inputs, std::min(i, spec_.inputs.size() - 1));
  if (!kept) fail("[{}] backward reads input '{}', which its record does not save", name, input_name(i));
  return saved_inputs_[i].unpack(*this, "input '" + input_name(i) + "'");
}

Tensors OpNode::backward(const Tensors& cotangents, const std::vector<bool>& needs) {
  const MemoryOriginScope origin({name, where, true});
  // A graph of the backward is built in f32: that is what references and composites are written for.
  const DeviceKernels& kernels = kernels_of(spec_, device_);
  const bool native = spec_.is_view || (kernels.bf16 && kernels.backward && !grad_enabled());
  BackwardCall call(*this, cotangents, needs, has_bf16_input() && !native);
  if (!grad_enabled() && kernels.backward) {
    kernels.backward(call);
  } else if (spec_.backward_composite) {
    spec_.backward_composite(call);
  } else {
    Tensors gradients = differentiate_reference(cotangents, needs);
    if (!grad_enabled()) {
      for (Tensor& gradient : gradients) gradient = gradient.defined() ? gradient.detach() : gradient;
    }
    return gradients;
  }
  return call.take_gradients();
}

Tensors OpNode::differentiate_reference(const Tensors& cotangents, const std::vector<bool>& needs) {
  if (!spec_.reference) {
    fail(
        "[{}] has neither a backward_composite nor a reference made of ops: {} (forward at {})", name,
        spec_.cpu.backward ? "its gradient cannot be differentiated again, as create_graph asks" : "it has no gradient",
        place());
  }
  GradModeScope recording(true);
  Tensors arguments, wanted;
  for (std::size_t i = 0; i < needs.size(); ++i) {
    const Tensor input = same_place(unpack_input(i), needs[i]);
    if (needs[i]) wanted.push_back(input);
    arguments.push_back(read_as_f32(input, has_bf16_input()));
  }
  const Tensors results = apply_reference(spec_, arguments, attributes_, where);
  Tensors reached, upstream;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (i >= cotangents.size() || !cotangents[i].defined() || !results[i].requires_grad()) continue;
    reached.push_back(results[i]);
    upstream.push_back(read_as_f32(cotangents[i], results[i].dtype() == DType::f32));
  }
  Tensors gradients(needs.size());
  if (reached.empty()) return gradients;
  const Tensors found = grad(reached, wanted, upstream, {.create_graph = true});
  for (std::size_t i = 0, next = 0; i < needs.size(); ++i) {
    if (needs[i]) gradients[i] = found[next++];
  }
  return gradients;
}

// --- BackwardCall ---------------------------------------------------------------------------------------------------

void BackwardCall::check_input(std::size_t i) const {
  if (i >= needs_.size()) fail("[{}] backward speaks of input {}, the call had {}", node_.name, i, needs_.size());
}

void BackwardCall::set_gradient(std::size_t i, Tensor gradient) {
  if (i >= needs_.size()) {
    std::string names;
    for (std::size_t k = 0; k < needs_.size(); ++k) names += (k ? ", '" : "'") + node_.input_name(k) + "'";
    fail("[{}] backward gave a gradient for input {}, the call had {}: {} (forward at {})", node_.name, i,
         needs_.size(), names, node_.place());
  }
  if (gradient.defined() && !input_spec_of(node_.spec_, i).differentiable) {
    fail("[{}] backward gave input '{}' a gradient, but the record says that it has none (forward at {})", node_.name,
         node_.input_name(i), node_.place());
  }
  given_[i] = true;
  gradients_[i] = std::move(gradient);
}

Tensors BackwardCall::take_gradients() {
  for (std::size_t i = 0; i < needs_.size(); ++i) {
    if (needs_[i] && !given_[i]) {
      fail("[{}] backward gave no gradient for input '{}'; where it is zero, set an undefined tensor (forward at {})",
           node_.name, node_.input_name(i), node_.place());
    }
  }
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    const DType dtype = node_.inputs[i].dtype;
    if (!gradients_[i].defined() || gradients_[i].dtype() == dtype) continue;
    const auto is_narrow = [](DType type) { return type == DType::f32 || type == DType::bf16; };
    const bool convertible = is_narrow(gradients_[i].dtype()) && is_narrow(dtype);
    if (!convertible) continue;
    // Broadcasting is undone before, so that sums are rounded once.
    if (!(gradients_[i].shape() == node_.inputs[i].shape))
      gradients_[i] = sum_to_shape(gradients_[i], node_.inputs[i].shape);
    gradients_[i] = cast(gradients_[i], dtype);
  }
  return std::exchange(gradients_, Tensors(needs_.size()));
}

Tensor BackwardCall::input(std::size_t i) const { return check_input(i), read_as_f32(node_.unpack_input(i), in_f32_); }

Tensor BackwardCall::output(std::size_t i) const {
  if (!contains(node_.spec_.saves.outputs, i)) {
    fail("[{}] backward reads output {}, which its record does not save", node_.name, i);
  }
  return read_as_f32(node_.saved_outputs_[i].unpack(node_, "output '" + node_.spec_.outputs[i] + "'"), in_f32_);
}

Tensor BackwardCall::saved(std::size_t i) const {
  if (i >= node_.saved_.size()) {
    fail("[{}] backward reads saved tensor {}, forward saved {}", node_.name, i, node_.saved_.size());
  }
  return node_.saved_[i].unpack(node_, fmt::format("saved tensor {}", i));
}

bool BackwardCall::has_input(std::size_t i) const { return i < node_.input_defined_.size() && node_.input_defined_[i]; }
TensorSpec BackwardCall::input_spec(std::size_t i) const {
  check_input(i);
  TensorSpec spec = node_.inputs[i];
  if (in_f32_ && spec.dtype == DType::bf16) spec.dtype = DType::f32;
  return spec;
}
const Attributes& BackwardCall::attributes() const { return node_.attributes_; }

Tensor BackwardCall::cotangent(std::size_t i) const {
  if (i >= node_.outputs_.size()) {
    fail("[{}] backward asks for the cotangent of output {}, the op has {}", node_.name, i, node_.outputs_.size());
  }
  if (i < cotangents_.size() && cotangents_[i].defined()) return read_as_f32(cotangents_[i], in_f32_);
  return read_as_f32(on_device(zeros(node_.outputs_[i].shape, node_.outputs_[i].dtype), node_.device_), in_f32_);
}

}  // namespace gradus
