// One training step: forward, loss, backward, clip, AdamW. On a CUDA device, recorded as one graph where batches have
// one shape.
#pragma once

#include <functional>
#include <memory>

#include "framework/data/batch.h"
#include "framework/kernels/captured_work.h"
#include "framework/nn/module.h"
#include "framework/optim/adamw.h"
#include "framework/random/generator.h"

namespace gradus::train {

/// Mean loss of a batch that is on the model's device: of its inputs, targets and lengths alone.
using LossFunction = std::function<Tensor(const data::Batch&)>;

struct StepOptions {
  std::int64_t micro_batches = 1;  ///< parts of a batch that run one after the other, for less memory: one step for all
  double clip_norm = 1.0;          ///< bound of the gradients' common norm
  bool graph = true;               ///< on a CUDA device: rows (B,T) of the shape of the batch before run as a graph
};

/// Where one of the two is not finite, nothing has changed but the generator.
struct StepResult {
  double loss = 0, gradient_norm = 0;
};

class TrainingStep {
 public:
  /// `generator`: what the model draws its random streams from.
  TrainingStep(nn::Module& model, Generator& generator, optim::AdamW& optimizer, LossFunction loss,
               const StepOptions& options);

  /// Runs the step, or queues it on the device and returns: the same bits, as a graph or not.
  void begin(const data::Batch& batch, double learning_rate);
  /// Waits for the step that was begun.
  StepResult finish();
  /// Whether the last step ran as a graph.
  bool ran_as_graph() const { return in_graph_; }

 private:
  StepResult run(const data::Batch& batch, double learning_rate);
  Tensor clip() const;
  void record(const data::Batch& batch);

  nn::Module& model_;
  Generator& generator_;
  optim::AdamW& optimizer_;
  const LossFunction loss_;
  const StepOptions options_;
  Shape last_shape_ = {}, graph_shape_ = {};
  bool in_graph_ = false;
  StepResult result_;
  Tensor graph_results_;  ///< (2) f64 on the device: loss, gradient norm
  std::unique_ptr<CapturedWork> graph_;
};

}  // namespace gradus::train
