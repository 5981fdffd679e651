#include "framework/testing/subject.h"

#include <algorithm>

#include "framework/autograd/autograd.h"
#include "framework/kernels/cpu/copy.h"

namespace gradus::testing {
namespace {

using Function = std::function<Tensors(const Tensors&)>;

/// Gradients of <function(inputs), cotangents> through the tape, undefined where none arrives.
Tensors tape_gradients(const Function& function, const Tensors& inputs, const std::vector<bool>& differentiable,
                       const Tensors& cotangents, bool create_graph) {
  const GradModeScope recording(true);
  Tensors leaves, wanted;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    leaves.push_back(!inputs[i].defined() || (create_graph && inputs[i].requires_grad()) ? inputs[i]
                                                                                         : inputs[i].detach());
    if (!differentiable[i]) continue;
    if (!leaves[i].requires_grad()) leaves[i].set_requires_grad();
    wanted.push_back(leaves[i]);
  }
  const Tensors outputs = function(leaves);
  Tensors reached, upstream;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    if (!outputs[k].defined() || !outputs[k].requires_grad() || !cotangents[k].defined()) continue;
    reached.push_back(outputs[k]);
    upstream.push_back(cotangents[k]);
  }
  Tensors gradients(inputs.size());
  if (reached.empty() || wanted.empty()) return gradients;
  const Tensors found = grad(reached, wanted, upstream, {.retain_graph = create_graph, .create_graph = create_graph});
  for (std::size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (differentiable[i]) gradients[i] = found[next++];
  }
  return gradients;
}

}  // namespace

std::vector<bool> differentiable_inputs(const OpSpec& spec, const Tensors& inputs) {
  std::vector<bool> differentiable;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const InputSpec& input = spec.inputs[std::min(i, spec.inputs.size() - 1)];
    differentiable.push_back(input.differentiable && inputs[i].defined() && is_floating(inputs[i].dtype()));
  }
  return differentiable;
}

std::vector<std::string> input_names(const OpSpec& spec, std::size_t count) {
  const OpCall call(spec, Tensors(count), {}, SourceLocation::current());
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(call.input_name(i));
  return names;
}

Subject watched(const Subject& subject, std::function<void()> watch) {
  const auto after_watch = [&](auto& function) {
    if (!function) return;
    function = [watch, function](const Tensors& inputs, const auto&... upstream) {
      watch();
      return function(inputs, upstream...);
    };
  };
  Subject result = subject;
  after_watch(result.forward);
  after_watch(result.backward);
  after_watch(result.backward_with);
  after_watch(result.tangent_of);
  return result;
}

Subject subject_from_function(const std::string& name, Function function, const std::vector<std::string>& input_names,
                              const std::vector<bool>& differentiable) {
  Subject subject{.name = name, .inputs = input_names, .outputs = {}, .differentiable = differentiable};
  subject.forward = function;
  subject.backward = [function, differentiable](const Tensors& inputs, const Tensors& cotangents) {
    return tape_gradients(function, inputs, differentiable, cotangents, false);
  };
  return subject;
}

Tensors in_dtype(const Tensors& tensors, DType dtype) {
  Tensors converted = tensors;
  for (Tensor& tensor : converted) {
    if (!tensor.defined() || !is_floating(tensor.dtype()) || tensor.dtype() == dtype) continue;
    const Tensor other = Tensor::empty(tensor.shape(), dtype);
    cpu::copy(other, tensor);
    tensor = other;
  }
  return converted;
}

Subject subject_of_module(const std::string& name, const nn::Module& module, std::function<Tensors()> function) {
  const Tensors parameters = module.parameters();
  const auto put = [parameters](const Tensors& values) {
    const NoGradScope no_grad;
    for (std::size_t i = 0; i < parameters.size(); ++i) cpu::copy(parameters[i], values[i]);
  };
  Subject subject;
  subject.name = name;
  for (const auto& [path, parameter] : module.named_parameters()) {
    subject.inputs.push_back(path);
    subject.differentiable.push_back(true);
  }
  subject.forward = [put, function](const Tensors& inputs) {
    put(inputs);
    return function();
  };
  subject.backward = [put, function, parameters](const Tensors& inputs, const Tensors& cotangents) {
    put(inputs);
    const GradModeScope recording(true);
    Tensors reached, upstream;
    const Tensors outputs = function();
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      if (!cotangents[k].defined()) continue;
      reached.push_back(outputs[k]);
      upstream.push_back(cotangents[k]);
    }
    return reached.empty() ? Tensors(parameters.size()) : grad(reached, parameters, upstream);
  };
  return subject;
}

Subject subject_of(const OpSpec& spec, const Sample& sample) {
  Subject subject = subject_from_function(
      spec.name,
      [&spec, attributes = sample.attributes](const Tensors& inputs) { return apply(spec, inputs, attributes); },
      input_names(spec, sample.inputs.size()), differentiable_inputs(spec, sample.inputs));
  subject.outputs = spec.outputs;
  const bool narrow = std::any_of(sample.inputs.begin(), sample.inputs.end(),
                                  [](const Tensor& input) { return input.defined() && input.dtype() == DType::f32; });
  if (narrow) {
    subject.backward_dtype = DType::f32;
    subject.backward = [narrow = subject](const Tensors& inputs, const Tensors& cotangents) {
      const Tensors rounded = in_dtype(inputs, DType::f32);
      Tensors upstream = cotangents;
      {
        const NoGradScope no_grad;
        const Tensors outputs = narrow.forward(rounded);
        for (std::size_t k = 0; k < outputs.size(); ++k) upstream[k] = in_dtype({cotangents[k]}, outputs[k].dtype())[0];
      }
      return in_dtype(narrow.backward(rounded, upstream), DType::f64);
    };
  }
  if (spec.tangent) {
    subject.tangent_of = [&spec, attributes = sample.attributes](const Tensors& inputs, const Tensors& tangents) {
      return spec.tangent(make_call(spec, inputs, attributes, SourceLocation::current()), tangents);
    };
  }
  return subject;
}

Subject gradient_subject(const Subject& subject, Function function, const Tensors& inputs) {
  // (inputs, cotangents) -> gradients, a function like any other.
  Tensors outputs;
  {
    const NoGradScope no_grad;
    outputs = function(inputs);
  }
  Subject second{
      .name = subject.name, .inputs = subject.inputs, .outputs = {}, .differentiable = subject.differentiable};
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    second.inputs.push_back(outputs.size() == 1 ? "cotangent" : fmt::format("cotangent {}", k));
    second.differentiable.push_back(outputs[k].dtype() == DType::f64);
  }
  const std::size_t count = inputs.size();
  const std::vector<bool> first = subject.differentiable;
  const Function gradient = [function, first, count](const Tensors& values) {
    const bool graph = grad_enabled();
    const Tensors arguments(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(count));
    const Tensors cotangents(values.begin() + static_cast<std::ptrdiff_t>(count), values.end());
    Tensors all = tape_gradients(function, arguments, first, cotangents, graph), gradients;
    for (std::size_t i = 0; i < count; ++i) {
      if (first[i]) gradients.push_back(all[i].defined() ? all[i] : Tensor());
    }
    return gradients;
  };
  second.forward = gradient;
  second.backward = [gradient, differentiable = second.differentiable](const Tensors& values,
                                                                       const Tensors& cotangents) {
    return tape_gradients(gradient, values, differentiable, cotangents, false);
  };
  return second;
}

Subject gradient_subject_of(const OpSpec& spec, const Sample& sample) {
  return gradient_subject(
      subject_of(spec, sample),
      [&spec, attributes = sample.attributes](const Tensors& inputs) { return apply(spec, inputs, attributes); },
      sample.inputs);
}

}  // namespace gradus::testing
