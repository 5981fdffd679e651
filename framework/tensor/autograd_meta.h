// What a tensor knows of its place in the tape. The tape itself (Node) lives a floor higher.
#pragma once

#include <functional>
#include <memory>
#include <vector>

namespace gradus {

class Node;
class Tensor;

/// Sees the gradient of a tensor during backward; may return a replacement, or an undefined tensor to keep it.
using GradientHook = std::function<Tensor(const Tensor& gradient)>;

struct AutogradMeta {
  bool requires_grad = false;            ///< set by the user on a leaf
  std::shared_ptr<Tensor> gradient;      ///< accumulated by backward() into a leaf
  std::shared_ptr<Node> producer;        ///< the node whose output this tensor is; null for a leaf
  int producer_output = 0;               ///< which output of it
  std::weak_ptr<Node> accumulator;       ///< the leaf's node, where one is alive
  std::vector<GradientHook> leaf_hooks;  ///< run on a leaf's gradient before it is accumulated
};

}  // namespace gradus
