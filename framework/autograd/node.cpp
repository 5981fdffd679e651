#include "framework/autograd/node.h"

#include <atomic>

#include "framework/autograd/accumulator.h"
#include "framework/autograd/modes.h"
#include "framework/autograd/recomputation.h"

namespace gradus {
namespace {

std::atomic<std::uint64_t> next_sequence{1};

}  // namespace

Node::Node(std::string name, SourceLocation where) : Node(std::move(name), where, next_sequence++) {}

Node::Node(std::string name, SourceLocation where, std::uint64_t sequence)
    : name(std::move(name)), where(where), module_path(current_module_path()), sequence(sequence) {}

Node::~Node() {
  // A chain of a million ops must not be torn down by a million nested destructors: edges go into a queue that the
  // outermost destructor empties.
  thread_local std::vector<Edge>* queue = nullptr;
  if (queue) {
    for (Edge& edge : edges) queue->push_back(std::move(edge));
    return;
  }
  std::vector<Edge> pending = std::move(edges);
  queue = &pending;
  while (!pending.empty()) {
    const Edge edge = std::move(pending.back());
    pending.pop_back();
  }
  queue = nullptr;
}

SavedTensor SavedTensor::input(const Tensor& tensor) {
  SavedTensor saved;
  if (!tensor.defined()) return saved;
  saved.version_ = tensor.version();
  saved.device_ = tensor.device();
  saved.promised_ = Recomputation::promise(tensor);
  if (!saved.promised_) saved.tensor_ = tensor;
  return saved;
}

SavedTensor SavedTensor::output(const Tensor& tensor, int index) {
  SavedTensor saved = input(tensor.alias());
  saved.output_ = index;
  return saved;
}

Tensor SavedTensor::fetch() const {
  if (!promised_) return tensor_;
  promised_->source->run_again();
  const Tensor tensor = promised_->tensor.alias();
  if (promised_->history.node) set_producer(tensor, promised_->history.node, promised_->history.output);
  return tensor;
}

Tensor SavedTensor::unpack(const std::string& op, const std::string& place, const std::string& role) const {
  if (released_) {
    fail(
        "[{}] the tape of the op at {} was already used by a backward pass and let go; pass retain_graph to the first "
        "backward if a second one is wanted",
        op, place);
  }
  const Tensor tensor = fetch();
  if (tensor.defined() && tensor.device() != device_) {
    fail("[{}] {} was saved for backward on {} by the op at {}, but moved to {} since", op, role, to_string(device_),
         place, to_string(tensor.device()));
  }
  if (tensor.defined() && tensor.version() != version_) {
    fail(
        "[{}] {} was saved for backward by the op at {}, but modified in place at {} (version {}, saved at version {})",
        op, role, place, to_string(tensor.storage().last_write()), tensor.version(), version_);
  }
  return tensor;
}

Tensor SavedTensor::unpack(Node& owner, const std::string& role) const {
  const Tensor tensor = unpack(owner.name, owner.place(), role);
  if (output_ < 0 || !tensor.defined()) return tensor;
  const Tensor with_history = tensor.alias();
  set_producer(with_history, owner.shared_from_this(), output_);
  return with_history;
}

Edge gradient_edge(const Tensor& tensor) {
  if (!tensor.defined() || !tensor.requires_grad()) return {};
  AutogradMeta& meta = *tensor.meta();
  if (meta.producer) return {meta.producer, meta.producer_output};
  std::shared_ptr<Node> accumulator = meta.accumulator.lock();
  if (!accumulator) {
    accumulator = std::make_shared<Accumulator>(tensor);
    meta.accumulator = accumulator;
  }
  return {accumulator, 0};
}

void set_producer(const Tensor& tensor, const std::shared_ptr<Node>& node, int index) {
  AutogradMeta& meta = tensor.ensure_meta();
  meta.producer = node;
  meta.producer_output = index;
}

}  // namespace gradus
