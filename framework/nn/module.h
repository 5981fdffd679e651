// Modules: named trees of parameters with a forward of their own.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "framework/autograd/modes.h"
#include "framework/tensor/tensor.h"

namespace gradus::nn {

using NamedTensor = std::pair<std::string, Tensor>;
using NamedTensors = std::vector<NamedTensor>;

/// Base of all modules. Children are value members registered by name, so a module can be neither copied nor moved.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// Dotted paths (`blocks.0.attn.key.weight`): own parameters first, then the children's, in registration order, as
  /// PyTorch lists them.
  NamedTensors named_parameters() const;
  Tensors parameters() const;
  std::int64_t parameter_count() const;
  /// Puts all parameters on a device; gradients are forgotten.
  void to(Device device);
  /// Where the parameters are; the CPU for none.
  Device device() const;
  /// Forgets all accumulated gradients.
  void zero_gradients() const;

  /// Training mode (dropout on) or evaluation mode, for this module and its children.
  void set_training(bool training);
  bool is_training() const { return training_; }

  /// Sees the module and its output after each forward; not once more where backward recomputes it.
  using ForwardHook = std::function<void(const Module&, const Tensor& output)>;
  void register_forward_hook(ForwardHook hook) { forward_hooks_.push_back(std::move(hook)); }

 protected:
  Tensor register_parameter(const std::string& name, const Tensor& value);
  void register_module(const std::string& name, Module& child);
  /// child.forward(arguments...) under the child's name, so that errors and anomaly reports give the module path, then
  /// its hooks: they see the member `out` of what is not a tensor. A forward whose last parameter, after at most three
  /// others, is a SourceLocation is told where it was called.
  template <class Child, class A>
  auto run(Child& child, const A& a, SourceLocation where = SourceLocation::current()) const {
    return run_named(child, where, a);
  }
  template <class Child, class A, class B>
  auto run(Child& child, const A& a, const B& b, SourceLocation where = SourceLocation::current()) const {
    return run_named(child, where, a, b);
  }
  template <class Child, class A, class B, class C>
  auto run(Child& child, const A& a, const B& b, const C& c, SourceLocation where = SourceLocation::current()) const {
    return run_named(child, where, a, b, c);
  }
  template <class Child, class... Arguments>
  auto run(Child& child, const Arguments&... arguments) const {
    return run_named(child, SourceLocation::current(), arguments...);
  }

 private:
  template <class Child, class... Arguments>
  static auto run_named(Child& child, SourceLocation where, const Arguments&... arguments) {
    const ModuleScope scope(child.name_);
    const auto output = [&] {
      if constexpr (requires { child.forward(arguments..., where); }) return child.forward(arguments..., where);
      else return child.forward(arguments...);
    }();
    if constexpr (std::is_same_v<decltype(output), const Tensor>) child.run_forward_hooks(output);
    else child.run_forward_hooks(output.out);
    return output;
  }
  void run_forward_hooks(const Tensor& output) const;

  std::string name_;
  NamedTensors parameters_;
  std::vector<Module*> children_;
  std::vector<ForwardHook> forward_hooks_;
  bool training_ = true;
};

/// Copies `values` into the parameters of the same names. Missing, unexpected and mis-shaped names are all listed in one
/// DataError that begins with `origin`; then nothing has been copied.
void load_parameters(const Module& module, const NamedTensors& values, const std::string& origin);

}  // namespace gradus::nn
