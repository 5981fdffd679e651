// What pretraining and finetuning have in common: options, checkpoints, the loop, the saved model.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "framework/data/batch.h"
#include "framework/optim/adamw.h"
#include "framework/train/trainer.h"
#include "models/model_file.h"
#include "tools/course_flags.h"
#include "tools/options.h"

namespace gradus::tools {

struct TrainingRunOptions : CourseFlags {
  CommonOptions common;
  std::string metrics, checkpoint, decay = "assignment";
  std::string corpus_argument = "CORPUS";  ///< what the command calls `corpus`
  std::int64_t max_steps = 0;
  std::string eval_every;  ///< see parse_steps; empty: never
  std::string warmup_tokens = "0", final_tokens = "all";  ///< see parse_token_amount
  std::string recipe, edition;  ///< have been put into the other options before these are parsed
  std::int64_t max_epochs = 0, batch_size = 0, checkpoint_every = 0, micro_batches = 1;
  std::int64_t block_size = 128, layers = 4, heads = 8, width = 256;
  double dropout = 0.1, checkpoint_seconds = 600;
  // Of pretrain alone:
  double names = 0, names_after_share = 0.5;
  std::string names_after;
  bool full_length = false;
  bool resume = false, other_arithmetic = false, force = false, extend = false, keep_checkpoint = false, shuffle = false,
       hold_rate = false, recompute = false, padded = false, eager = false;
};

/// `course_help`: the flags of the assignment that the command uses, with their help.
void add_training_options(CLI::App& command, TrainingRunOptions& options,
                          const std::map<std::string, std::string>& course_help);

/// Shows the usual recipe's values as defaults in the help, once all options are there.
void show_usual_recipe(CLI::App& command);

/// Of these, the learning rate's course: --warmup_tokens, --final_tokens and --hold_rate.
void add_schedule_options(CLI::App& command, TrainingRunOptions& options);

/// Of these, what has nothing to do with the task: the run's end, metrics and checkpoints, and the common options.
void add_run_options(CLI::App& command, TrainingRunOptions& options);

/// Throws UsageError for contradictions, before anything is read.
void check_training_options(const TrainingRunOptions& options);

/// Throws UsageError where a flag asks for another shape than that of the model that is read.
void require_same_model(const CLI::App& command, const TrainingRunOptions& options, const models::GptConfig& model);

/// What is looked at from time to time while a model trains.
struct HeldOut {
  std::shared_ptr<const data::BatchSource> source = nullptr;               ///< null: nothing is
  std::function<std::pair<std::int64_t, std::int64_t>()> score = nullptr;  ///< answers that are right, of how many
};

/// What pretraining and finetuning do differently.
struct TrainingPhase {
  std::string function;  ///< the command: "pretrain", "finetune" or "pretrain-text"
  double learning_rate = 0;
  std::string rate_flag = "";     ///< the option that sets learning_rate, where it is not --FUNCTION_lr
  /// What "epochs" of --final_tokens are, as the assignment counts them; 0 for those of the training data.
  std::int64_t epoch_tokens = 0;
  std::string note = "";            ///< beside the recipe's name, where the run begins
  bool rows_of_one_length = false;  ///< the source's batches have no padding to leave out
  HeldOut held_out = {};
};

/// Trains with the assignment's loss (mean over targets that are not pad), saves the model, and removes the checkpoint.
/// Throws ExitWith where a signal ended the run.
void run_training(const TrainingRunOptions& options, const TrainingPhase& phase, models::Gpt& model,
                  const data::Vocabulary& vocabulary, const data::BatchSource& source);

/// Mean cross-entropy over the targets that are not pad: logits (B,T,V), targets (B,T).
Tensor prediction_loss(const Tensor& logits, const Tensor& targets);
/// The same of the model's predictions.
Tensor prediction_loss(models::Gpt& model, const data::Batch& batch);

/// The configuration that the options ask for.
models::GptConfig model_config(const TrainingRunOptions& options, std::int64_t vocabulary_size);

}  // namespace gradus::tools
