// The end of the way back: the node of a leaf, which adds what arrives to the leaf's gradient.
#pragma once

#include "framework/autograd/node.h"

namespace gradus {

class Accumulator final : public Node {
 public:
  explicit Accumulator(const Tensor& leaf);

  /// Runs the leaf's hooks on `gradient`, in the order of their registration.
  Tensor run_hooks(Tensor gradient) const;
  /// leaf.gradient += gradient. Adds in place where nobody else can see the buffer and no graph is wanted.
  void accumulate(Tensor gradient, bool create_graph) const;

  Tensors backward(const Tensors&, const std::vector<bool>&) override { return {}; }
  void release_saved() override {}
  std::string input_name(std::size_t) const override { return "leaf"; }

 private:
  std::shared_ptr<AutogradMeta> leaf_;
};

}  // namespace gradus
