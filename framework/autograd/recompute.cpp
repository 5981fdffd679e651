// The first run records the tape as ever, but its nodes hold promises in place of tensors. So nothing that walks the
// tape knows of recomputation, and the order of all additions is that of an ordinary run.
#include "framework/autograd/recompute.h"

#include "framework/autograd/modes.h"
#include "framework/autograd/recomputation.h"
#include "framework/base/plural.h"
#include "framework/tensor/memory_origin.h"

namespace gradus {

/// A body running on this thread.
class BodyRun {
 public:
  BodyRun(Recomputation* recomputation, bool again);
  ~BodyRun();
  BodyRun(const BodyRun&) = delete;
  BodyRun& operator=(const BodyRun&) = delete;

  Recomputation* const recomputation;
  const bool again;          ///< this run is the second one
  const bool inside_second;  ///< this run, or one around it

 private:
  BodyRun* outer_;
};

namespace {
thread_local BodyRun* innermost = nullptr;
}

BodyRun::BodyRun(Recomputation* recomputation, bool again)
    : recomputation(recomputation), again(again), inside_second(again || recomputing()), outer_(innermost) {
  innermost = this;
}
BodyRun::~BodyRun() { innermost = outer_; }

bool recomputing() { return innermost && innermost->inside_second; }

FirstRunOnlyScope::FirstRunOnlyScope() : before_(innermost) { innermost = nullptr; }
FirstRunOnlyScope::~FirstRunOnlyScope() { innermost = before_; }

Recomputation::Recomputation(std::function<Tensors(const Tensors&)> body, const Tensors& inputs, SourceLocation where)
    : body_(std::move(body)), where_(where), module_path_(current_module_path()) {
  for (const Tensor& input : inputs) inputs_.push_back(SavedTensor::input(input));
}

Tensors Recomputation::run_first(const Tensors& inputs) {
  const BodyRun run(this, false);
  const StreamRecordScope record(streams_);
  return body_(inputs);
}

void Recomputation::run_again() {
  if (!body_) return;
  Tensors inputs;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    inputs.push_back(inputs_[i].unpack("recompute", describe_place(where_, module_path_), fmt::format("input {}", i)));
  }
  {
    const GradModeScope recording(true);
    const ModuleScope path(module_path_);
    const BodyRun run(this, true);
    const MemoryOriginScope ops_of_the_body({});
    const StreamReplayScope replay(streams_);
    kept_ = 0;
    body_(inputs);
    if (!replay.is_faithful()) fail_different("it drew other random streams");
  }
  if (kept_ < promises_.size()) {
    fail_different(fmt::format("its ops kept {} for backward at first, {} now", plural(promises_.size(), "tensor"), kept_));
  }
  body_ = nullptr;
  inputs_.clear();
}

void Recomputation::fail_different(const std::string& how) const {
  fail(
      "[recompute] the body at {} computed something else the second time: {}; what it refers to must stay as it is "
      "until backward",
      describe_place(where_, module_path_), how);
}

std::shared_ptr<PromisedTensor> Recomputation::promise(const Tensor& tensor) {
  // A leaf that gets a gradient is no result of the body: its holder keeps it alive anyway.
  const bool is_parameter = tensor.requires_grad() && tensor.is_leaf();
  if (!innermost || is_parameter) return nullptr;
  if (!innermost->again) return innermost->recomputation->make_promise(tensor);
  innermost->recomputation->keep_promise(tensor);
  return nullptr;
}

std::shared_ptr<PromisedTensor> Recomputation::make_promise(const Tensor& tensor) {
  auto promised = std::make_shared<PromisedTensor>();
  promised->source = shared_from_this();
  promised->spec = tensor.spec();
  if (!tensor.is_leaf()) promised->history = gradient_edge(tensor);
  promises_.push_back(promised);
  return promised;
}

void Recomputation::keep_promise(const Tensor& tensor) {
  if (kept_ == promises_.size()) {
    fail_different(fmt::format("its ops kept {} for backward at first, more now", plural(promises_.size(), "tensor")));
  }
  const std::shared_ptr<PromisedTensor> promised = promises_[kept_++].lock();
  if (!promised) return;
  if (tensor.spec() != promised->spec) {
    fail_different(fmt::format("tensor {} of those that its ops keep for backward was {} {} at first, {} {} now", kept_,
                               to_string(promised->spec.shape), to_string(promised->spec.dtype),
                               to_string(tensor.shape()), to_string(tensor.dtype())));
  }
  promised->tensor = tensor.alias();
}

Tensors recompute(std::function<Tensors(const Tensors&)> body, const Tensors& inputs, SourceLocation where) {
  if (!grad_enabled()) return body(inputs);
  return std::make_shared<Recomputation>(std::move(body), inputs, where)->run_first(inputs);
}

Tensor recompute(std::function<Tensor(const Tensor&)> body, const Tensor& input, SourceLocation where) {
  return recompute([body = std::move(body)](const Tensors& inputs) { return Tensors{body(inputs[0])}; }, Tensors{input},
                   where)[0];
}

}  // namespace gradus
