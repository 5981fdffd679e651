// Looking at held-out data while a run goes on.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "framework/data/batch.h"
#include "framework/nn/module.h"
#include "framework/train/step.h"

namespace gradus::train {

/// What a look found.
struct Evaluation {
  double loss = 0;                        ///< mean over all that is predicted
  std::int64_t right = 0, questions = 0;  ///< no score where there are no questions
  double percent() const { return 100.0 * double(right) / double(questions); }
  /// `held-out loss 1.2345, 12 of 120 right (10.0 %)`
  std::string text() const;
};

/// The best of a run so far, and after which steps; 0: after none.
struct BestEvaluation {
  double loss = 0;
  std::int64_t loss_step = 0, right = 0, questions = 0, right_step = 0;

  void add(std::int64_t step, const Evaluation& evaluation);
  /// `best: held-out loss 1.2345 after step 400; 12 of 120 right (10.0 %) after step 600`, or nothing.
  std::string text() const;
  nlohmann::json state() const;
  /// Throws DataError with `path`, or an exception of the JSON library, for what is no state after `last_step`.
  static BestEvaluation from_state(const nlohmann::json& state, std::int64_t last_step, const std::string& path);
};

/// Thrown out of an evaluation when a signal asks the run to end.
struct EvaluationStopped {};
/// Throws EvaluationStopped once such a signal has arrived: to be called now and then while evaluating.
void stop_evaluation_on_signal();

/// In evaluation mode, without a tape: mean of `loss` over the predicted targets of the first epoch of `source`.
/// The model is in the mode that it was in afterwards.
double mean_loss(nn::Module& model, const data::BatchSource& source, const LossFunction& loss);

}  // namespace gradus::train
