// Activation recomputation: less memory for more time (Chen et al. 2016, arXiv:1604.06174, section 3).
#pragma once

#include <functional>

#include "framework/tensor/tensor.h"

namespace gradus {

/// body(inputs), recorded without keeping what the body computes: the first backward pass that needs any of it runs the
/// body once more. Gradients have the bits of an ordinary body(inputs), and what works on the tape works on this one:
/// grad(), hooks, anomaly mode, create_graph, a recompute() in the body. Without recording it is body(inputs).
///
/// The body must compute the same again. Random streams are handed out to it again as they were. What it refers to must
/// be alive and unchanged until backward; kept tensors that come out otherwise are refused with a ContractError. What
/// the body captures stays in memory, as the inputs do; what it does besides computing is done twice.
Tensors recompute(std::function<Tensors(const Tensors&)> body, const Tensors& inputs,
                  SourceLocation where = SourceLocation::current());
Tensor recompute(std::function<Tensor(const Tensor&)> body, const Tensor& input,
                 SourceLocation where = SourceLocation::current());

/// True while a body runs for the second time: for what must happen only once.
bool recomputing();

/// For what a body does in its first run only, such as forward hooks: ops inside keep tensors for backward themselves.
class FirstRunOnlyScope {
 public:
  FirstRunOnlyScope();
  ~FirstRunOnlyScope();
  FirstRunOnlyScope(const FirstRunOnlyScope&) = delete;
  FirstRunOnlyScope& operator=(const FirstRunOnlyScope&) = delete;

 private:
  class BodyRun* before_;
};

}  // namespace gradus
