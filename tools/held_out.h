// What --eval_every looks at while a model trains: data of the kind that it is trained on, from --eval_corpus_path.
#pragma once

#include "tasks/span_corruption/span_corruption.h"
#include "tools/training_run.h"

namespace gradus::tools {

/// Throws UsageError where --eval_every is no number of steps or epochs, or --eval_corpus_path is not there.
void check_evaluation_options(const TrainingRunOptions& options);

/// Steps between two looks where an epoch has so many batches; 0 for none.
std::int64_t steps_between_evaluations(const TrainingRunOptions& options, std::int64_t batches_per_epoch);

// Each is empty where --eval_every asks for nothing. Throw DataError for a file that does not fit the model.

/// Documents that are corrupted by the training's rules, each time alike and whatever the seed.
HeldOut held_out_documents(const TrainingRunOptions& options, const data::Vocabulary& vocabulary,
                           const tasks::CorruptionRules& rules);

/// Questions and places: the loss on the places, and the answers that are right, as `evaluate` counts them.
HeldOut held_out_questions(const TrainingRunOptions& options, models::Gpt& model, const data::Vocabulary& vocabulary);

/// A text, each character once.
HeldOut held_out_text(const TrainingRunOptions& options, const data::Vocabulary& vocabulary);

}  // namespace gradus::tools
