// Everything that a run needs to go on as if it had never stopped.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "framework/io/safetensors.h"
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
  std::int64_t total_steps = 0;  ///< that the run is to have; 0 where a file does not say
  LossCurve losses = {};         ///< empty in checkpoints of older versions
  BestEvaluation best = {};
  /// The step's line of metrics, where the run was stopped while it was evaluated: that is the first thing to do.
  nlohmann::ordered_json unevaluated = nullptr;
};

/// Parameters, moments, dropout stream, position and the settings that must not change. `notes` is further metadata, by
/// which the file can be used as a model. Written atomically.
void save_checkpoint(const std::string& path, const nn::Module& model, const optim::AdamW& optimizer, const Generator& generator,
                     const Position& position, const nlohmann::json& settings,
                     const std::map<std::string, std::string>& notes = {});

struct LoadedCheckpoint {
  Position position;
  std::string notice;  ///< a line for the user where something could not be verified or bits will differ; else empty
};

/// Restores all of it; where a setting differs, nothing is touched. Throws DataError where the file is damaged or foreign,
/// NumericError where a number in it is not finite, UsageError where a setting differs, by name, or the CPU's arithmetic
/// (kernels/cpu/arithmetic.h), unless `other_arithmetic` accepts that.
LoadedCheckpoint load_checkpoint(const std::string& path, const nn::Module& model, optim::AdamW& optimizer, Generator& generator,
                                 const nlohmann::json& settings, bool other_arithmetic = false);

/// Settings as text, whatever bytes their strings hold: a path need not be UTF-8.
std::string settings_text(const nlohmann::json& settings);

/// True where the file can be read and is a checkpoint of this program.
bool is_checkpoint(const std::string& path);
/// The same of a file with this metadata.
bool is_checkpoint(const std::map<std::string, std::string>& metadata);

/// Throws DataError where a file of the present format has no checksum over all of it: it was lost with other bits.
void require_verified(const io::SafetensorsFile& file, const std::string& path);

/// What a checkpoint says of its run, without restoring it.
struct Summary {
  Position position;
  nlohmann::json settings;
};
/// Throws DataError where the file at `path`, which has this metadata, is no checkpoint or damaged.
Summary summarize(const std::map<std::string, std::string>& metadata, const std::string& path);
/// `p.checkpoint: a checkpoint after step 3 of 12`.
std::string describe(const std::map<std::string, std::string>& metadata, const std::string& path);

/// The parameters in a checkpoint under the module's names.
nn::NamedTensors parameters_of(const io::SafetensorsFile& file);

/// Throws UsageError naming the first of `settings` that is another in `saved`, which stands in `path`. Checksums of
/// earlier versions are of another kind and pass for the same.
void require_same_settings(const std::string& path, const nlohmann::json& saved, const nlohmann::json& settings);

}  // namespace gradus::train
