#include "framework/train/step.h"

#include <cmath>

#include "framework/autograd/autograd.h"
#include "framework/kernels/elements.h"
#include "framework/ops/ops.h"

namespace gradus::train {
namespace {

std::unique_ptr<CapturedWork> recorded(Tensors inputs, Generator& generator, const std::function<void()>& body) {
  try {
    return std::make_unique<CapturedWork>(std::move(inputs), generator, body);
  } catch (const ContractError& error) {
    fail("{}; without a recording the step can run (--eager, StepOptions::graph)", error.what());
  }
}

}  // namespace

TrainingStep::TrainingStep(nn::Module& model, Generator& generator, optim::AdamW& optimizer, LossFunction loss,
                           const StepOptions& options)
    : model_(model), generator_(generator), optimizer_(optimizer), loss_(std::move(loss)), options_(options) {}

void TrainingStep::begin(const data::Batch& batch, double learning_rate) {
  const bool can_record = options_.graph && options_.micro_batches == 1 && batch.lengths.empty() &&
                          model_.device() != Device{} && !anomaly_enabled();
  // The first step of a shape is not recorded: kernels and libraries are loaded by then.
  in_graph_ = can_record && batch.inputs.shape() == (graph_ ? graph_shape_ : last_shape_);
  last_shape_ = batch.inputs.shape();
  if (!in_graph_) {
    result_ = run(batch, learning_rate);
    return;
  }
  if (!graph_) record(batch);
  graph_->run({batch.inputs, batch.targets, optimizer_.next_factors(learning_rate)});
}

StepResult TrainingStep::finish() {
  if (!in_graph_) return result_;
  const std::vector<double> results = graph_results_.to_vector<double>();
  if (std::isfinite(results[0]) && std::isfinite(results[1])) optimizer_.count_step();
  return {results[0], results[1]};
}

StepResult TrainingStep::run(const data::Batch& batch, double learning_rate) {
  StepResult result;
  model_.zero_gradients();
  for (const data::Batch& part : data::split(batch, options_.micro_batches)) {
    if (part.predicted == 0 && batch.predicted > 0) continue;
    // The mean over the batch is the mean of the parts' means, weighted by what they predict.
    const double share = options_.micro_batches == 1 ? 1 : double(part.predicted) / double(batch.predicted);
    const Tensor value = loss_(data::on_device(part, model_.device()));
    result.loss += share * value.item();
    if (!std::isfinite(result.loss)) return result;
    backward(share == 1 ? value : value * share);
  }
  result.gradient_norm = clip().item();
  if (std::isfinite(result.gradient_norm)) optimizer_.step(learning_rate);
  return result;
}

Tensor TrainingStep::clip() const {
  const NoGradScope no_grad;
  return clip_by_global_norm_(optimizer_.gradients(), options_.clip_norm);
}

void TrainingStep::record(const data::Batch& batch) {
  const Device device = model_.device();
  const auto like = [&](const Tensor& tensor) { return Tensor::empty(tensor.shape(), tensor.dtype(), device); };
  data::Batch inputs = batch;
  inputs.inputs = like(batch.inputs);
  inputs.targets = like(batch.targets);
  inputs.predicted = inputs.counted_tokens = -1;  // not those of later batches
  const Tensor factors = like(optimizer_.next_factors(0));
  graph_results_ = Tensor::empty({2}, DType::f64, device);
  graph_shape_ = batch.inputs.shape();
  graph_ = recorded(Tensors{inputs.inputs, inputs.targets, factors}, generator_, [&] {
    model_.zero_gradients();
    const Tensor loss = loss_(inputs);
    backward(loss);
    const Tensor norm = clip();
    const NoGradScope no_grad;
    optimizer_.record_step(factors, norm * 0.0 + cast(loss, norm.dtype()) * 0.0);  // a sum of large ones could overflow
    elements::copy(graph_results_.window({}, {}, 0), loss);
    elements::copy(graph_results_.window({}, {}, 1), norm);
  });
}

}  // namespace gradus::train
