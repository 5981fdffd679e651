// The tape: one Node for each recorded op. A node owns the way back to the producers of its inputs, never its own
// outputs, so the graph has no cycles and goes away with the last tensor that needs it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "framework/autograd/modes.h"
#include "framework/tensor/tensor.h"

namespace gradus {

/// Where the gradient of an input goes: output `output` of `node`. Null where the input needs none.
struct Edge {
  std::shared_ptr<Node> node;
  int output = 0;
};

class Node : public std::enable_shared_from_this<Node> {
 public:
  Node(std::string name, SourceLocation where);
  virtual ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// One gradient for each input from one cotangent for each output. An undefined tensor stands for zero, on both
  /// sides; entries with needs[i] false may stay undefined. Gradients may have the broadcast shape: the engine sums.
  virtual Tensors backward(const Tensors& cotangents, const std::vector<bool>& needs) = 0;
  /// Lets saved tensors go after a backward pass without retain_graph.
  virtual void release_saved() = 0;
  /// Name of input i for messages.
  virtual std::string input_name(std::size_t i) const = 0;

  /// `models/gpt/gpt.cpp:88 in blocks.0.attn`: the place of the forward call.
  std::string place() const { return describe_place(where, module_path); }

  const std::string name;
  const SourceLocation where;        ///< of the forward call
  const ModulePath module_path;      ///< of the forward call; may be null
  const std::uint64_t sequence;      ///< creation order: producers come before consumers; 0 for leaves
  std::vector<Edge> edges;           ///< by input
  std::vector<TensorSpec> inputs;    ///< shape and dtype of each input
  std::vector<Device> input_devices;
  std::vector<std::vector<GradientHook>> hooks;  ///< by output

 protected:
  Node(std::string name, SourceLocation where, std::uint64_t sequence);
};

struct PromisedTensor;

/// A tensor kept for backward, with the version it had. Reading it after an in-place write throws, with both places.
/// In the body of a recompute() the tensor itself is not kept: it comes from the body's second run.
class SavedTensor {
 public:
  SavedTensor() = default;
  static SavedTensor input(const Tensor& tensor);
  /// Output number `index` of the saving node; kept without its history, which would be a cycle.
  static SavedTensor output(const Tensor& tensor, int index);

  /// `owner` is the saving node; `role` is its name in messages.
  Tensor unpack(Node& owner, const std::string& role) const;
  /// An input that is no node's: `op` saved it at `place`.
  Tensor unpack(const std::string& op, const std::string& place, const std::string& role) const;
  void release() { tensor_ = Tensor(), promised_ = nullptr, released_ = true; }

 private:
  /// The tensor with its history; of an output without.
  Tensor fetch() const;

  Tensor tensor_;  ///< undefined where one is promised
  std::shared_ptr<PromisedTensor> promised_;
  std::int64_t version_ = 0;
  Device device_;
  int output_ = -1;
  bool released_ = false;
};

/// The place in the tape of `tensor`: its producer, or the accumulator of a leaf; null where it needs no gradient.
Edge gradient_edge(const Tensor& tensor);

/// Makes `tensor` output number `index` of `node`.
void set_producer(const Tensor& tensor, const std::shared_ptr<Node>& node, int index);

}  // namespace gradus
