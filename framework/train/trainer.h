// The training loop. It knows no task: batches and the loss come from outside.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "framework/optim/schedule.h"
#include "framework/train/evaluation.h"
#include "framework/train/progress.h"
#include "framework/train/step.h"

namespace gradus::train {

struct TrainerOptions {
  std::int64_t max_epochs = 1;
  std::int64_t max_steps = 0;      ///< the run ends after so many, the schedule is the same; 0: with the last epoch
  std::int64_t micro_batches = 1;  ///< parts of a batch that run one after the other, for less memory: one step for all
  double clip_norm = 1.0;  ///< bound of the gradients' common norm
  bool graph = true;       ///< as in StepOptions
  optim::TokenSchedule schedule;
  std::string checkpoint_path;          ///< empty: none is written; the end of the run is saved too
  std::int64_t checkpoint_every = 0;    ///< steps between checkpoints; 0: by time alone
  double checkpoint_seconds = 600;      ///< longest time between checkpoints
  bool resume = false;                  ///< go on from checkpoint_path if it is there
  bool other_arithmetic = false;        ///< also where other instructions or libraries compute: the bits become others
  std::string metrics_path;             ///< one JSON object a step; empty: none
  /// Looks at held-out data, in any mode of the model and with any draws; throws EvaluationStopped where it is stopped.
  std::function<Evaluation()> evaluate = {};
  std::int64_t evaluate_every = 0;      ///< steps between two looks; the end of the run is one more. 0: none
  std::string evaluated = {};           ///< what is looked at, for messages
  ProgressMode progress = ProgressMode::automatic;
  nlohmann::json settings = nlohmann::json::object();  ///< what must be the same for a checkpoint to be resumed
  nlohmann::json resumed_settings;      ///< what the checkpoint must have in their place, where the run goes on otherwise
  std::map<std::string, std::string> notes = {};  ///< further metadata of the checkpoints
};

struct TrainingResult {
  int signal = 0;  ///< SIGINT, SIGTERM or SIGHUP where one ended the run early; a checkpoint has been saved then
  std::int64_t steps = 0, tokens = 0;
  double last_loss = 0;
  double seconds = 0;  ///< over all parts of a resumed run
  BestEvaluation best;
};

/// Trains `model` on `source`, on the model's device. Each step: loss(batch), backward, clip, optimizer step at the
/// current rate; then the rate follows from the tokens counted so far, so the first step runs at the full rate
/// (assignment 5, trainer). Throws NumericError, with the first op to blame, where the loss or the gradient norm is not
/// finite: the parameters are those of the last good step then. Throws OutputError where metrics cannot be written, or
/// the checkpoint on a signal; other checkpoints that fail are a warning. Evaluations change nothing of the training, and
/// happen after the same steps where a run is resumed.
TrainingResult train(nn::Module& model, Generator& dropout_generator, optim::AdamW& optimizer,
                     const data::BatchSource& source, const LossFunction& loss, const TrainerOptions& options);

}  // namespace gradus::train
