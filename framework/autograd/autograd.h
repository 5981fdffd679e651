// Reverse-mode differentiation: backward(), grad(), hooks.
#pragma once

#include "framework/autograd/modes.h"
#include "framework/tensor/tensor.h"

namespace gradus {

struct BackwardOptions {
  bool retain_graph = false;  ///< keep saved tensors, so that the same tape can be walked again
  bool create_graph = false;  ///< record the backward itself, for higher derivatives; implies retain_graph
};

/// Adds the gradient of <output, cotangent> to the gradient of every leaf that `output` depends on.
/// `cotangent` has the output's shape and dtype; it may be left out for a single-element output (then it is 1).
void backward(const Tensor& output, const Tensor& cotangent = {}, BackwardOptions options = {},
              SourceLocation where = SourceLocation::current());
void backward(const Tensors& outputs, const Tensors& cotangents, BackwardOptions options = {},
              SourceLocation where = SourceLocation::current());

/// The gradient of <outputs, cotangents> with respect to each of `inputs` (leaves or not); leaves' own gradients stay
/// as they are. An input that the outputs do not depend on gives an undefined tensor.
Tensors grad(const Tensors& outputs, const Tensors& inputs, const Tensors& cotangents = {},
             BackwardOptions options = {}, SourceLocation where = SourceLocation::current());

/// Has `hook` see (and possibly replace) the gradient of `tensor` in every backward pass. Needs requires_grad().
void register_hook(const Tensor& tensor, GradientHook hook, SourceLocation where = SourceLocation::current());

/// The two differentiable ops that the engine itself needs when it builds a graph of the backward.
struct EngineOps {
  Tensor (*add)(const Tensor& a, const Tensor& b);
  Tensor (*sum_to_shape)(const Tensor& tensor, const Shape& shape);
};
void install_engine_ops(EngineOps ops);

/// `x in [-1.2, 3.4]`, with counts of NaN and infinity where there are any; for anomaly messages.
std::string describe_range(const Tensor& tensor);

}  // namespace gradus
