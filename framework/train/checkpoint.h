// Everything that a run needs to go on as if it had never stopped.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "framework/nn/module.h"
#include "framework/optim/adamw.h"
#include "framework/random/generator.h"
#include "framework/train/evaluation.h"
#include "framework/train/loss_curve.h"

namespace gradus::train {

/// Where a run stands: `batch` of `epoch` (both from 0) is the next one.
struct Position {
  std::int64_t epoch = 0, batch = 0, step = 0, tokens = 0;
  double seconds = 0;    ///< spent so far, over all parts of the run
  double last_loss = 0;  ///< of the step before
  LossCurve losses = {};         ///< empty in checkpoints of older versions
  BestEvaluation best = {};
  /// The step's line of metrics, where the run was stopped while it was evaluated: that is the first thing to do.
  nlohmann::ordered_json unevaluated = nullptr;
};

/// Parameters, moments, dropout stream, position and the settings that must not change. Written atomically.
void save_checkpoint(const std::string& path, const nn::Module& model, const optim::AdamW& optimizer, const Generator& generator,
                     const Position& position, const nlohmann::json& settings);

/// Restores all of it; where a setting differs, nothing is touched. Throws DataError where the file is damaged or foreign, UsageError where a setting differs, by name.
Position load_checkpoint(const std::string& path, const nn::Module& model, optim::AdamW& optimizer, Generator& generator,
                         const nlohmann::json& settings);

/// True where the file can be read and is a checkpoint of this program.
bool is_checkpoint(const std::string& path);

/// Throws UsageError naming the first of `settings` that is another in `saved`, which stands in `path`.
void require_same_settings(const std::string& path, const nlohmann::json& saved, const nlohmann::json& settings);

}  // namespace gradus::train
