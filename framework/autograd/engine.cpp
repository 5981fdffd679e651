// Walks the tape from the outputs to the leaves. Producers are older than consumers, so visiting the reachable nodes
// from the youngest to the oldest is a topological order; nothing here recurses.
#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "framework/autograd/accumulator.h"
#include "framework/autograd/autograd.h"
#include "framework/base/plural.h"
#include "framework/kernels/elements.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/memory_origin.h"

namespace gradus {
namespace {

EngineOps engine_ops{};

Tensor add(const Tensor& a, const Tensor& b, bool create_graph) {
  if (create_graph) return engine_ops.add(a, b);
  const Tensor out = Tensor::empty(a.shape(), a.dtype(), a.device());
  elements::add(out, a, b);
  return out;
}

void add_in_place(const Tensor& to, const Tensor& from) { elements::add(to, to, from); }

/// sum += term. In place where `sum` belongs to the engine alone.
void accumulate(Tensor& sum, Tensor term, bool create_graph) {
  if (!sum.defined()) {
    sum = std::move(term);
  } else if (!create_graph && sum.is_uniquely_owned() && sum.is_contiguous()) {
    add_in_place(sum, term);
  } else {
    sum = add(sum, term, create_graph);
  }
}

/// Checks a gradient against its input and undoes broadcasting.
Tensor fit_to_input(const Node& node, std::size_t i, const Tensor& gradient, bool create_graph) {
  const TensorSpec& input = node.inputs[i];
  const auto refuse = [&](const std::string& given, const std::string& expected) {
    fail("[{}] backward gave input '{}' a gradient {}, the input {} (forward at {})", node.name, node.input_name(i),
         given, expected, node.place());
  };
  if (gradient.dtype() != input.dtype) {
    refuse(fmt::format("of dtype {}", to_string(gradient.dtype())), fmt::format("has {}", to_string(input.dtype)));
  }
  if (gradient.device() != node.input_devices[i]) {
    refuse(fmt::format("on {}", to_string(gradient.device())),
           fmt::format("is on {}", to_string(node.input_devices[i])));
  }
  if (gradient.shape() == input.shape) return gradient;
  Shape broadcast;
  if (!broadcast_shapes(gradient.shape(), input.shape, broadcast) || !(broadcast == gradient.shape())) {
    refuse(fmt::format("of shape {}", to_string(gradient.shape())), fmt::format("has {}", to_string(input.shape)));
  }
  return create_graph ? engine_ops.sum_to_shape(gradient, input.shape) : elements::sum_to_shape(gradient, input.shape);
}

void check_finite(const Node& node, const Tensors& cotangents, const Tensors& gradients) {
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i].defined() || elements::all_finite(gradients[i])) continue;
    std::string upstream;
    for (const Tensor& cotangent : cotangents) {
      if (cotangent.defined()) upstream += (upstream.empty() ? "" : ", ") + describe_range(cotangent);
    }
    fail<NumericError>("the gradient of input '{}' of [{}] at {} is not finite: {}; upstream gradient: {}",
                       node.input_name(i), node.name, node.place(), describe_range(gradients[i]), upstream);
  }
}

std::vector<Node*> reachable_youngest_first(const std::vector<Edge>& roots) {
  std::vector<Node*> found;
  std::unordered_set<Node*> seen;
  const auto visit = [&](const Edge& edge) {
    if (edge.node && seen.insert(edge.node.get()).second) found.push_back(edge.node.get());
  };
  for (const Edge& root : roots) visit(root);
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const Edge& edge : found[i]->edges) visit(edge);
  }
  std::sort(found.begin(), found.end(), [](Node* a, Node* b) { return a->sequence > b->sequence; });
  return found;
}

bool fits(const Tensor& gradient, const Tensor& tensor) {
  return gradient.spec() == tensor.spec() && gradient.device() == tensor.device();
}

/// The gradient, or what the hook puts in its place.
Tensor after_hook(const GradientHook& hook, const Tensor& gradient) {
  const Tensor replacement = hook(gradient);
  if (!replacement.defined()) return gradient;
  if (!fits(replacement, gradient)) {
    fail("a hook cannot replace the gradient {} by {}", gradient.describe(), replacement.describe());
  }
  return replacement;
}

/// The cotangent with which output `i` is entered: the given one, or 1.
Tensor checked_cotangent(std::size_t i, const Tensor& output, const Tensor& given, SourceLocation where) {
  if (!output.defined()) fail("backward: output {} is undefined at {}", i, to_string(where));
  if (!output.requires_grad())
    fail("backward: output {} ({}) does not require grad at {}", i, output.describe(), to_string(where));
  if (!given.defined()) {
    if (output.numel() == 1) return ones_like(output);
    fail("backward: output {} has {} elements: pass a cotangent of its shape at {}", output.describe(), output.numel(),
         to_string(where));
  }
  if (!fits(given, output)) {
    fail("backward: the cotangent of an output {} cannot be {} at {}", output.describe(), given.describe(),
         to_string(where));
  }
  return given;
}

/// One pass. With `inputs`, their gradients are returned and no leaf is touched.
Tensors run(const Tensors& outputs, const Tensors& cotangents, const Tensors* inputs, BackwardOptions options,
            SourceLocation where) {
  const bool create_graph = options.create_graph;
  const bool retain = options.retain_graph || create_graph;
  if (!cotangents.empty() && cotangents.size() != outputs.size()) {
    fail("backward: {} but {} at {}", plural(outputs.size(), "output"), plural(cotangents.size(), "cotangent"),
         to_string(where));
  }
  GradModeScope recording(create_graph);

  std::unordered_map<Node*, Tensors> pending;  // cotangents collected so far, by node and output
  const auto collect = [&](const Edge& edge, Tensor cotangent) {
    Tensors& slots = pending[edge.node.get()];
    if (slots.size() <= static_cast<std::size_t>(edge.output)) slots.resize(edge.output + 1);
    accumulate(slots[edge.output], std::move(cotangent), create_graph);
  };

  std::vector<Edge> roots;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Tensor cotangent = checked_cotangent(i, outputs[i], cotangents.empty() ? Tensor() : cotangents[i], where);
    roots.push_back(gradient_edge(outputs[i]));
    collect(roots.back(), cotangent);
  }
  const std::vector<Node*> order = reachable_youngest_first(roots);

  Tensors captured(inputs ? inputs->size() : 0);
  std::unordered_map<Node*, std::vector<std::pair<int, std::size_t>>> captures;  // node -> (output, index of input)
  std::unordered_set<Node*> wanted;  // nodes on a way to a captured input
  std::vector<Edge> kept_alive;      // accumulators of inputs that no output reaches
  if (inputs) {
    for (std::size_t i = 0; i < inputs->size(); ++i) {
      Edge edge = gradient_edge((*inputs)[i]);
      if (!edge.node)
        fail("grad: input {} ({}) does not require grad at {}", i, (*inputs)[i].describe(), to_string(where));
      captures[edge.node.get()].emplace_back(edge.output, i);
      kept_alive.push_back(std::move(edge));
    }
    for (auto node = order.rbegin(); node != order.rend(); ++node) {
      const bool leads = std::any_of((*node)->edges.begin(), (*node)->edges.end(),
                                     [&](const Edge& edge) { return edge.node && wanted.count(edge.node.get()); });
      if (leads || captures.count(*node)) wanted.insert(*node);
    }
  }

  for (Node* node : order) {
    const auto found = pending.find(node);
    if (found == pending.end()) continue;
    Tensors arrived = std::move(found->second);
    pending.erase(found);
    auto* accumulator = dynamic_cast<Accumulator*>(node);
    if (accumulator) {
      arrived[0] = accumulator->run_hooks(arrived[0]);
    } else {
      for (std::size_t output = 0; output < std::min(arrived.size(), node->hooks.size()); ++output) {
        for (const GradientHook& hook : node->hooks[output]) {
          if (!arrived[output].defined()) continue;
          arrived[output] = after_hook(hook, arrived[output]);
        }
      }
    }
    if (const auto capture = captures.find(node); capture != captures.end()) {
      for (const auto& [output, i] : capture->second) {
        if (static_cast<std::size_t>(output) < arrived.size()) captured[i] = arrived[output];
      }
    }
    if (accumulator) {
      if (!inputs) accumulator->accumulate(std::move(arrived[0]), create_graph);
      continue;
    }
    std::vector<bool> needs(node->edges.size());
    for (std::size_t i = 0; i < needs.size(); ++i) {
      Node* producer = node->edges[i].node.get();
      needs[i] = producer && (!inputs || wanted.count(producer));
    }
    if (std::find(needs.begin(), needs.end(), true) == needs.end()) continue;
    Tensors gradients = node->backward(arrived, needs);
    if (gradients.size() != needs.size()) {
      fail("[{}] backward returned {} gradients for {} inputs (forward at {})", node->name, gradients.size(),
           needs.size(), node->place());
    }
    if (anomaly_enabled()) check_finite(*node, arrived, gradients);
    if (!retain) node->release_saved();
    arrived.clear();
    const MemoryOriginScope origin({node->name, node->where, true});
    for (std::size_t i = 0; i < needs.size(); ++i) {
      if (!needs[i] || !gradients[i].defined()) continue;
      Tensor fitted = fit_to_input(*node, i, gradients[i], create_graph);
      gradients[i] = Tensor();
      collect(node->edges[i], std::move(fitted));
    }
  }
  return captured;
}

}  // namespace

void install_engine_ops(EngineOps ops) { engine_ops = ops; }

void backward(const Tensor& output, const Tensor& cotangent, BackwardOptions options, SourceLocation where) {
  backward(Tensors{output}, Tensors{cotangent}, options, where);
}
void backward(const Tensors& outputs, const Tensors& cotangents, BackwardOptions options, SourceLocation where) {
  run(outputs, cotangents, nullptr, options, where);
}
Tensors grad(const Tensors& outputs, const Tensors& inputs, const Tensors& cotangents, BackwardOptions options,
             SourceLocation where) {
  return run(outputs, cotangents, &inputs, options, where);
}

void register_hook(const Tensor& tensor, GradientHook hook, SourceLocation where) {
  tensor.require_defined("register_hook()", where);
  if (!tensor.requires_grad())
    fail("register_hook: the tensor {} does not require grad at {}", tensor.describe(), to_string(where));
  AutogradMeta& meta = *tensor.meta();
  if (!meta.producer) {
    meta.leaf_hooks.push_back(std::move(hook));
    return;
  }
  auto& hooks = meta.producer->hooks;
  if (hooks.size() <= static_cast<std::size_t>(meta.producer_output)) hooks.resize(meta.producer_output + 1);
  hooks[meta.producer_output].push_back(std::move(hook));
}

Accumulator::Accumulator(const Tensor& leaf) : Node("leaf", {}, 0), leaf_(leaf.shared_meta()) {}

Tensor Accumulator::run_hooks(Tensor gradient) const {
  for (const GradientHook& hook : leaf_->leaf_hooks) {
    gradient = after_hook(hook, gradient);
  }
  return gradient;
}

void Accumulator::accumulate(Tensor gradient, bool create_graph) const {
  const MemoryOriginScope origin({.op = "gradient of a leaf", .backward = true});
  std::shared_ptr<Tensor>& stored = leaf_->gradient;
  if (!stored) {
    // A buffer that others can see, or that is a view, must not become the leaf's own.
    const bool own = create_graph || (gradient.is_uniquely_owned() && gradient.is_contiguous());
    stored = std::make_shared<Tensor>(own ? std::move(gradient) : elements::clone(gradient));
  } else if (!create_graph && stored->is_leaf() && stored->is_contiguous()) {
    stored->storage().note_write(SourceLocation::current());
    add_in_place(*stored, gradient);
  } else {
    *stored = add(*stored, gradient, create_graph);
  }
}

std::string describe_range(const Tensor& tensor) {
  double low = INFINITY, high = -INFINITY;
  std::int64_t nans = 0, infinities = 0;
  for (double value : tensor.to_vector<double>()) {
    if (std::isnan(value)) ++nans;
    else if (std::isinf(value)) ++infinities;
    else low = std::min(low, value), high = std::max(high, value);
  }
  std::string text = low <= high ? fmt::format("in [{:.4g}, {:.4g}]", low, high) : "without a finite element";
  if (nans) text += fmt::format(", {} NaN", nans);
  if (infinities) text += fmt::format(", {} infinite", infinities);
  return fmt::format("{} of {} elements", text, tensor.numel());
}

}  // namespace gradus
