// The in-place steps of training: clipping and AdamW. Not differentiable.
#pragma once

#include <functional>
#include <memory>

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// Scales all gradients by min(1, max_norm / (norm + 1e-6)), where norm is the Euclidean norm of all their elements
/// together; returns it (a scalar). Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063.
Tensor clip_by_global_norm_(const Tensors& gradients, double max_norm, SourceLocation where = SourceLocation::current());

struct AdamWOptions {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0;
  std::int64_t step = 1;  ///< number of this update, from 1
  Tensor factors = {};    ///< (3), an AdamWStep in place of learning rate and step, where these are not known yet
  Tensor if_finite = {};  ///< one number of the parameter's dtype: where it is NaN or infinite, nothing changes
};

/// One AdamW update of a parameter and its two moments, all of one shape and dtype. Loshchilov and Hutter 2019,
/// arXiv:1711.05101, algorithm 2.
void adamw_step_(const Tensor& parameter, const Tensor& gradient, const Tensor& first_moment, const Tensor& second_moment,
                 const AdamWOptions& options, SourceLocation where = SourceLocation::current());

/// While it lives, a device may gather the updates that adamw_step_ is asked for and queue them together in finish():
/// a launch for many parameters. They must not depend on each other.
class JointUpdates {
 public:
  JointUpdates();
  /// What was gathered and not queued is forgotten.
  ~JointUpdates();
  JointUpdates(const JointUpdates&) = delete;
  JointUpdates& operator=(const JointUpdates&) = delete;

  void finish();

  /// For backends. Of this thread, or null; `gathered` is the backend's, and queue() queues it.
  static JointUpdates* current();
  std::shared_ptr<void> gathered;
  std::function<void()> queue;
};

const OpSpec& clip_by_global_norm_op();
const OpSpec& adamw_op();

}  // namespace gradus
