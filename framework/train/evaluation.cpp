#include "framework/train/evaluation.h"

#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/train/signals.h"

namespace gradus::train {
namespace {

/// Puts a model into evaluation mode for a while.
class EvaluationScope {
 public:
  explicit EvaluationScope(nn::Module& model) : model_(model), was_training_(model.is_training()) {
    model_.set_training(false);
  }
  ~EvaluationScope() { model_.set_training(was_training_); }
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

 private:
  nn::Module& model_;
  bool was_training_;
  NoGradScope no_grad_;
};

std::string share(std::int64_t right, std::int64_t questions) {
  return fmt::format("({:.1f} %)", 100.0 * double(right) / double(questions));
}

}  // namespace

std::string Evaluation::text() const {
  const std::string text = fmt::format("held-out loss {:.4f}", loss);
  if (questions == 0) return text;
  return fmt::format("{}, {} of {} right {}", text, in_prose(right), in_prose(questions), share(right, questions));
}

void BestEvaluation::add(std::int64_t step, const Evaluation& evaluation) {
  if (std::isfinite(evaluation.loss) && (loss_step == 0 || evaluation.loss < loss)) {
    loss = evaluation.loss;
    loss_step = step;
  }
  if (evaluation.questions > 0 && (right_step == 0 || evaluation.right > right)) {
    right = evaluation.right;
    questions = evaluation.questions;
    right_step = step;
  }
}

std::string BestEvaluation::text() const {
  std::string text;
  if (loss_step > 0) text = fmt::format("best: held-out loss {:.4f} after step {}", loss, in_prose(loss_step));
  if (right_step > 0) {
    text += fmt::format("{}{} of {} right {} after step {}", text.empty() ? "best: " : "; ", in_prose(right),
                        in_prose(questions), share(right, questions), in_prose(right_step));
  }
  return text;
}

nlohmann::json BestEvaluation::state() const {
  return {{"loss", loss}, {"loss_step", loss_step}, {"right", right}, {"questions", questions}, {"right_step", right_step}};
}

BestEvaluation BestEvaluation::from_state(const nlohmann::json& state, std::int64_t last_step, const std::string& path) {
  const BestEvaluation best{state.at("loss"), state.at("loss_step"), state.at("right"), state.at("questions"),
                            state.at("right_step")};
  const auto is_step = [&](std::int64_t step) { return step >= 0 && step <= last_step; };
  if (!is_step(best.loss_step) || !is_step(best.right_step) || best.right < 0 || best.right > best.questions ||
      (best.right_step > 0 && best.questions == 0)) {
    fail<DataError>("{}: its state is damaged: its best evaluation is not of its {}", path, plural(last_step, "step"));
  }
  return best;
}

void stop_evaluation_on_signal() {
  if (SignalScope::received() != 0) throw EvaluationStopped{};
}

double mean_loss(nn::Module& model, const data::BatchSource& source, const LossFunction& loss) {
  const EvaluationScope scope(model);
  double sum = 0;
  std::int64_t predicted = 0;
  for (std::int64_t index = 0; index < source.batches_per_epoch(); ++index) {
    stop_evaluation_on_signal();
    const data::Batch batch = source.batch(0, index);
    if (batch.predicted == 0) continue;
    sum += loss(data::on_device(batch, model.device())).item() * double(batch.predicted);
    predicted += batch.predicted;
  }
  return sum / double(predicted);
}

}  // namespace gradus::train
