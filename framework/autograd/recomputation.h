// How recompute() meets the tape: where ops of a body save tensors, they get a promise instead, which the second run
// keeps.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "framework/autograd/node.h"
#include "framework/random/generator.h"

namespace gradus {

class Recomputation;

/// A tensor that backward may ask for. The body's second run fills in the promises that somebody still holds.
struct PromisedTensor {
  std::shared_ptr<Recomputation> source;
  TensorSpec spec;
  Edge history;   ///< the tensor's place in the tape of the first run; none for a leaf
  Tensor tensor;  ///< without history; undefined before the second run
};

/// One call of recompute().
class Recomputation : public std::enable_shared_from_this<Recomputation> {
 public:
  Recomputation(std::function<Tensors(const Tensors&)> body, const Tensors& inputs, SourceLocation where);

  Tensors run_first(const Tensors& inputs);
  /// Does nothing after the first time.
  void run_again();

  /// What an op that saves `tensor` shall hold in its stead; null where it shall hold the tensor.
  static std::shared_ptr<PromisedTensor> promise(const Tensor& tensor);

 private:
  std::shared_ptr<PromisedTensor> make_promise(const Tensor& tensor);
  void keep_promise(const Tensor& tensor);
  [[noreturn]] void fail_different(const std::string& how) const;

  std::function<Tensors(const Tensors&)> body_;  ///< empty after the second run
  std::vector<SavedTensor> inputs_;
  SourceLocation where_;
  std::shared_ptr<const std::string> module_path_;
  DrawnStreams streams_;
  std::vector<std::weak_ptr<PromisedTensor>> promises_;  ///< in the order of saving
  std::size_t kept_ = 0;                                 ///< promises that the second run has come to
};

}  // namespace gradus
