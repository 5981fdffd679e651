#include "tools/training_run.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <tuple>

#include "framework/base/counts.h"
#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/io/checksum.h"
#include "framework/io/destination.h"
#include "framework/io/files.h"
#include "framework/io/json.h"
#include "framework/io/safetensors.h"
#include "framework/ops/ops.h"
#include "framework/train/checkpoint.h"
#include "framework/train/signals.h"
#include "tools/commands.h"
#include "tools/held_out.h"
#include "tools/model_files.h"
#include "tools/recipes.h"
#include "tools/run_outputs.h"
#include "tools/token_amounts.h"

namespace gradus::tools {

void add_training_options(CLI::App& command, TrainingRunOptions& options,
                          const std::map<std::string, std::string>& course_help) {
  add_course_flags(command, options, "Pretraining corpus, one document a line; it defines the vocabulary", course_help)
      ->required();
  command
      .add_option("--recipe", options.recipe,
                  "Values for the options that are not given: a JSON file, or one of " +
                      fmt::format("{}", fmt::join(built_in_recipes(), ", ")))
      ->type_name("NAME|FILE")
      ->default_str(usual_recipe);
  command.add_option("--edition", options.edition, "The recipe of a course edition, faithfully: 2021 to 2024")
      ->type_name("YEAR");
  add_integer(command, "--max_epochs", options.max_epochs, "Passes over the training data");
  add_integer(command, "--batch_size", options.batch_size, "Examples of a batch");
  add_integer(command, "--micro_batches", options.micro_batches,
              "Parts in which a batch runs, for less memory; one step for all");
  add_recompute(command, options.recompute);
  command.add_flag("--padded", options.padded,
                   "Compute padding too, for other dropout masks: on a CUDA device every step is then one graph");
  add_eager(command, options.eager);
  add_schedule_options(command, options);
  command.add_option("--decay", options.decay, "Decay rule: assignment (all but biases) or standard (linear weights)")->capture_default_str();
  command.add_flag("--shuffle,!--no_shuffle", options.shuffle, "Shuffle in every epoch (the assignment does not)");
  add_integer(command, "--block_size", options.block_size, "Longest sequence");
  add_integer(command, "--layers", options.layers, "Blocks");
  add_integer(command, "--heads", options.heads, "Attention heads");
  add_integer(command, "--width", options.width, "Features");
  command.add_option("--dropout", options.dropout, "Embedding, residual and attention dropout")->capture_default_str();
  add_run_options(command, options);
}

void show_usual_recipe(CLI::App& command) {
  const std::string phase = command.get_name();
  std::map<std::string, std::string> defaults;
  for (const std::string& each : {std::string("pretrain"), std::string("finetune"), phase}) {
    for (const auto& [option, value] : recipe_values(usual_recipe, each, false)) {
      if (each == phase || option.ends_with("_lr")) defaults[option] = value;
    }
  }
  for (const auto& [option, value] : recipe_values(usual_recipe, phase, true)) {
    if (!defaults.contains(option)) defaults[option] = "the model's";
    if (defaults[option] != value) defaults[option] += ", from scratch " + value;
  }
  for (const auto& [option, value] : defaults) command.get_option("--" + option)->default_str(value);
}

void add_schedule_options(CLI::App& command, TrainingRunOptions& options) {
  command.add_option("--warmup_tokens", options.warmup_tokens, "Tokens of linear warm-up, or a share of the fall: 1%")
      ->capture_default_str();
  command
      .add_option(
          "--final_tokens", options.final_tokens,
          "Tokens at which the cosine has fallen; or epochs, padding included: \"200 epochs\"; or all of the run")
      ->capture_default_str();
  command.add_flag("--hold_rate,!--no_hold_rate", options.hold_rate,
                   "Stay at the floor after the fall (the assignment climbs again)");
}

void add_run_options(CLI::App& command, TrainingRunOptions& options) {
  add_integer(command, "--max_steps", options.max_steps,
              "End after so many steps, with the schedule of all; 0 for the last epoch's end");
  command
      .add_option("--eval_every", options.eval_every,
                  "Look at what --eval_corpus_path names every N steps, or \"epoch\", \"5 epochs\", and at the end")
      ->type_name("N");
  command.add_option("--metrics", options.metrics, "Write one JSON object a step to FILE")->type_name("FILE");
  command.add_option("--checkpoint", options.checkpoint, "Default: the writing path with .checkpoint")->type_name("FILE");
  add_integer(command, "--checkpoint_every", options.checkpoint_every, "Steps between checkpoints; 0 for none but by time");
  command.add_option("--checkpoint_seconds", options.checkpoint_seconds, "Longest time between checkpoints")->capture_default_str();
  command.add_flag("--keep_checkpoint", options.keep_checkpoint,
                   "Keep it after the last epoch too, for --resume --extend");
  command.add_flag("--resume", options.resume, "Go on from the checkpoint: bit for bit on the same kind of device");
  command.add_flag("--extend", options.extend,
                   "With --resume: go on to more epochs than the run had, though its schedule changes");
  command.add_flag("--other_arithmetic", options.other_arithmetic,
                   "Go on although other instructions or libraries compute than before: the result is another in its last bits");
  command.add_flag("--force", options.force, "Start anew although a model or a checkpoint is there, which is overwritten");
  add_common_options(command, options.common);
}

void require_same_model(const CLI::App& command, const TrainingRunOptions& options, const models::GptConfig& model) {
  const auto require_same = [&](const char* flag, auto asked, auto loaded) {
    if (command.count(flag) > 0 && asked != loaded) fail<UsageError>("{} {}: the model in {} has {}", flag, asked, options.reading_params_path, loaded);
  };
  require_same("--block_size", options.block_size, model.block_size);
  require_same("--layers", options.layers, model.layers);
  require_same("--heads", options.heads, model.heads);
  require_same("--width", options.width, model.width);
  require_same_latents(options, model);
  require_same("--dropout", options.dropout, model.dropout.residual);
}

namespace {

std::string checkpoint_path(const TrainingRunOptions& options) {
  return options.checkpoint.empty() ? options.writing_params_path + ".checkpoint" : options.checkpoint;
}

}  // namespace

void check_training_options(const TrainingRunOptions& options) {
  if (options.writing_params_path.empty()) fail<UsageError>("--writing_params_path is needed: the trained model goes there");
  if (options.max_epochs < 1) fail<UsageError>("--max_epochs must be at least 1, not {}", options.max_epochs);
  if (options.max_steps < 0) fail<UsageError>("--max_steps must not be negative, not {}", options.max_steps);
  if (options.micro_batches < 1) fail<UsageError>("--micro_batches must be at least 1, not {}", options.micro_batches);
  if (options.batch_size < 1) fail<UsageError>("--batch_size must be at least 1, not {}", options.batch_size);
  if (options.checkpoint_every < 0) fail<UsageError>("--checkpoint_every must not be negative, not {}", options.checkpoint_every);
  if (!(options.checkpoint_seconds > 0)) fail<UsageError>("--checkpoint_seconds must be positive, not {}", options.checkpoint_seconds);
  check_evaluation_options(options);
  if (options.resume && options.force) fail<UsageError>("--resume and --force contradict each other");
  if (options.extend && !options.resume) fail<UsageError>("--extend goes with --resume");
  for (double rate : {options.pretrain_lr, options.finetune_lr}) {
    if (!(rate > 0 && rate < 1e3)) fail<UsageError>("a learning rate must be above 0 and below 1000, not {}", rate);
  }
  optim::decay_rule_from_string(options.decay);
  io::require_writable(options.writing_params_path);
  if (!options.metrics.empty()) io::require_writable(options.metrics);
  io::require_writable(checkpoint_path(options));
  const bool is_built_in = std::ranges::find(built_in_recipes(), options.recipe) != built_in_recipes().end();
  require_distinct({{options.corpus_argument, options.corpus},
                    {"--recipe", is_built_in ? "" : options.recipe},
                    {"--config", options.common.config},
                    {"--finetune_corpus_path", options.finetune_corpus_path},
                    {"--eval_corpus_path", options.eval_corpus_path},
                    {"--reading_params_path", options.reading_params_path}},
                   {{"--writing_params_path", options.writing_params_path},
                    {"--checkpoint", checkpoint_path(options)},
                    {"--metrics", options.metrics},
                    {"--json", options.common.json}});
  require_no_model({{"--metrics", options.metrics}, {"--json", options.common.json}});
  if (options.reading_params_path.empty()) model_config(options, 256).validate();
}

models::GptConfig model_config(const TrainingRunOptions& options, std::int64_t vocabulary_size) {
  models::GptConfig config{.variant = parse_variant(options.variant),
                           .vocabulary_size = vocabulary_size,
                           .block_size = options.block_size,
                           .layers = options.layers,
                           .heads = options.heads,
                           .width = options.width,
                           .dropout = {options.dropout, options.dropout, options.dropout}};
  if (config.is_perceiver()) {
    const std::int64_t usual = config.variant == models::Variant::perceiver
                                   ? std::min<std::int64_t>(32, options.block_size)
                                   : (options.block_size + 1) / 2;
    config.latents = options.bottleneck_dim > 0 ? options.bottleneck_dim : usual;
  }
  return config;
}

Tensor prediction_loss(const Tensor& logits, const Tensor& targets) {
  const std::int64_t rows = targets.numel();
  return cross_entropy(reshape(logits, {rows, logits.size(2)}), reshape(targets, {rows}), data::Vocabulary::pad);
}

Tensor prediction_loss(models::Gpt& model, const data::Batch& batch) {
  return prediction_loss(model.forward(batch.inputs, batch.lengths), batch.targets);
}

namespace {

optim::TokenSchedule schedule_of(const TrainingRunOptions& options, const TrainingPhase& phase,
                                 const data::BatchSource& source) {
  using Unit = TokenAmount::Unit;
  const TokenAmount final = parse_token_amount("--final_tokens", options.final_tokens),
                    warmup = parse_token_amount("--warmup_tokens", options.warmup_tokens);
  if (final.unit == Unit::percent)
    fail<UsageError>("--final_tokens {}: expected a number of tokens, epochs or all", options.final_tokens);
  if (warmup.unit == Unit::epochs || warmup.unit == Unit::all)
    fail<UsageError>("--warmup_tokens {}: expected a number of tokens or a share", options.warmup_tokens);
  const std::int64_t epoch = source.counted_tokens_per_epoch();
  const auto tokens = [](double number, std::int64_t each) {
    if (!(number * double(each) <= double(largest_count))) fail<UsageError>("too many tokens: {} times {}", number, each);
    return std::llround(number * double(each));
  };
  optim::TokenSchedule schedule{.peak = phase.learning_rate, .hold_at_end = options.hold_rate};
  schedule.final_tokens = final.unit == Unit::tokens ? tokens(final.number, 1)
                          : final.unit == Unit::epochs
                              ? tokens(final.number, phase.epoch_tokens > 0 ? phase.epoch_tokens : epoch)
                              : count_of("tokens", options.max_epochs, epoch);
  schedule.warmup_tokens =
      warmup.unit == Unit::percent ? tokens(warmup.number / 100, schedule.final_tokens) : tokens(warmup.number, 1);
  if (schedule.warmup_tokens >= schedule.final_tokens) {
    fail<UsageError>(
        "--warmup_tokens {}: the warm-up of {} does not end before the fall does, after {} (--final_tokens {})",
        options.warmup_tokens, plural(schedule.warmup_tokens, "token"), in_prose(schedule.final_tokens),
        options.final_tokens);
  }
  return schedule;
}

/// All that decides the result, under the names that the user knows.
nlohmann::json settings_of(const TrainingRunOptions& options, const TrainingPhase& phase,
                           const optim::TokenSchedule& schedule, const models::GptConfig& model,
                           const data::BatchSource& source) {
  nlohmann::json settings = {
      {"command", phase.function},
      {"training data", source.fingerprint()},
      {"--batch_size", options.batch_size},
      {"--reading_params_path",
       options.reading_params_path.empty() ? "none" : io::checksum(io::read_file(options.reading_params_path, UINT64_MAX))},
      {"--micro_batches", options.micro_batches},
      {"--seed", options.common.seed},
      {"--dtype", options.common.dtype},
      {"--max_epochs", options.max_epochs},
      {phase.rate_flag.empty() ? "--" + phase.function + "_lr" : phase.rate_flag, phase.learning_rate},
      {"--hold_rate", options.hold_rate},
      {"--decay", options.decay},
      {"--block_size", model.block_size},
      {"--layers", model.layers},
      {"--heads", model.heads},
      {"--width", model.width},
      {"--dropout", model.dropout.residual}};
  // A share of all the run follows from its epochs.
  if (options.final_tokens != "all") settings["--final_tokens"] = schedule.final_tokens;
  if (options.warmup_tokens.ends_with("%")) settings["--warmup_tokens"] = options.warmup_tokens;
  else settings["--warmup_tokens"] = schedule.warmup_tokens;
  if (phase.function != "pretrain-text") settings["--shuffle"] = options.shuffle;
  if (options.full_length) settings["--full_length"] = true;
  if (options.padded) settings["--padded"] = true;
  if (options.names != 0) settings["--names"] = options.names;
  if (!options.names_after.empty()) {
    settings["--names_after"] = options.names_after;
    settings["--names_after_share"] = options.names_after_share;
  }
  if (phase.function != "pretrain-text") settings["VARIANT"] = options.variant;
  if (model.is_perceiver()) settings["--bottleneck_dim"] = model.latents;
  return settings;
}

/// The epochs that a run of `saved` settings was to have, if fewer than `options` ask for.
std::optional<std::int64_t> fewer_epochs(const nlohmann::json& saved, const TrainingRunOptions& options) {
  if (!saved.is_object() || !saved.contains("--max_epochs") || !saved["--max_epochs"].is_number_integer()) return {};
  const std::int64_t epochs = saved["--max_epochs"];
  if (epochs < 1 || epochs >= options.max_epochs) return {};
  return epochs;
}

nlohmann::json settings_of_model(const std::string& path) {
  const io::SafetensorsFile model = io::read_safetensors(path);
  nlohmann::json saved = io::parse_json(model.require("settings", path), path + ": its settings");
  if (!saved.is_object()) fail<DataError>("{}: its settings are damaged", path);
  return saved;
}

/// For --resume without a checkpoint: true where the run has ended already. Throws where its file is of another run.
bool is_complete(const TrainingRunOptions& options, const nlohmann::json& settings) {
  const std::string& path = options.writing_params_path;
  if (!io::is_there(path)) return false;
  const nlohmann::json saved = settings_of_model(path);
  if (const auto epochs = fewer_epochs(saved, options)) {
    fail<UsageError>(
        "{} is complete with its {}, and its checkpoint is gone: it cannot be extended to {}; --force starts anew, "
        "and --keep_checkpoint keeps what --extend needs",
        path, plural(*epochs, "epoch"), options.max_epochs);
  }
  train::require_same_settings(path, saved, settings);
  return true;
}

/// For --resume with a checkpoint: true where it is the end of this run, and the model is there.
bool is_complete(const TrainingRunOptions& options, const nlohmann::json& settings, const std::string& checkpoint) {
  if (!io::is_there(options.writing_params_path)) return false;
  const train::Position position = train::summarize(io::read_safetensors(checkpoint).metadata, checkpoint).position;
  const bool at_end = position.epoch >= options.max_epochs || position.step == options.max_steps;
  return at_end && settings_of_model(options.writing_params_path) == settings;
}

/// The settings that the checkpoint to resume must have: those of this run, but for the end where --extend moves it.
/// Says what moving it changes. Throws UsageError without --extend.
nlohmann::json settings_to_resume(const TrainingRunOptions& options, const TrainingPhase& phase,
                                  const data::BatchSource& source, const train::TrainerOptions& trainer) {
  const std::string& path = trainer.checkpoint_path;
  const auto [position, saved] = train::summarize(io::read_safetensors(path).metadata, path);
  const auto epochs = fewer_epochs(saved, options);
  if (!epochs) return trainer.settings;
  nlohmann::json settings = trainer.settings;
  settings["--max_epochs"] = *epochs;
  train::require_same_settings(path, saved, settings);
  TrainingRunOptions as_before = options;
  as_before.max_epochs = *epochs;
  const optim::TokenSchedule before = schedule_of(as_before, phase, source);
  const optim::TokenSchedule& now = trainer.schedule;
  const bool is_same = before.final_tokens == now.final_tokens && before.warmup_tokens == now.warmup_tokens;
  const std::string change =
      is_same ? "the learning rate's course is the same"
              : fmt::format("the learning rate is {:.2e} from here on, not {:.2e}, and has fallen after {} tokens, not {}",
                            now.rate(position.tokens), before.rate(position.tokens), now.final_tokens, before.final_tokens);
  if (!options.extend) {
    fail<UsageError>("{}: the run was to have {}, not {}: pass --extend too if it is to go on to there; {}", path,
                     plural(*epochs, "epoch"), options.max_epochs, change);
  }
  std::cerr << fmt::format("extended after step {} from {} to {}: {}\n", position.step, *epochs, plural(options.max_epochs, "epoch"), change);
  return settings;
}

}  // namespace

void run_training(const TrainingRunOptions& options, const TrainingPhase& phase, models::Gpt& model,
                  const data::Vocabulary& vocabulary, const data::BatchSource& source) {
  const RunOutputs outputs{options.writing_params_path, checkpoint_path(options), options.metrics};
  const HeldOutputs held(outputs);
  if (!options.resume && !options.force) require_free({"--writing_params_path", options.writing_params_path});
  train::TrainerOptions trainer;
  trainer.max_epochs = options.max_epochs;
  trainer.max_steps = options.max_steps;
  trainer.micro_batches = options.micro_batches;
  trainer.graph = !options.eager && (options.padded || phase.rows_of_one_length);
  trainer.schedule = schedule_of(options, phase, source);
  trainer.checkpoint_path = checkpoint_path(options);
  trainer.checkpoint_every = options.checkpoint_every;
  trainer.checkpoint_seconds = options.checkpoint_seconds;
  trainer.resume = options.resume;
  trainer.other_arithmetic = options.other_arithmetic;
  trainer.metrics_path = options.metrics;
  trainer.progress = train::progress_mode_from_string(options.common.progress);
  trainer.settings = settings_of(options, phase, trainer.schedule, model.config(), source);
  trainer.notes = models::describe_model(model, vocabulary);
  trainer.notes["function"] = phase.function;
  trainer.notes["seed"] = std::to_string(options.common.seed);
  // Where a run ends does not change what comes before: it may be resumed to another end, but its model is of this one.
  nlohmann::json settings = trainer.settings;
  if (options.max_steps > 0) settings["--max_steps"] = options.max_steps;

  const std::string& checkpoint = trainer.checkpoint_path;
  const bool interrupted_before = io::is_there(checkpoint);
  if (interrupted_before && !options.resume && !options.force) {
    if (!train::is_checkpoint(checkpoint))
      fail<UsageError>("{} is there and is no checkpoint: name another file with --checkpoint", checkpoint);
    fail<UsageError>("{} is there from an interrupted run: pass --resume to go on, or --force to start anew",
                     checkpoint);
  }
  if (options.resume) {
    if (interrupted_before ? is_complete(options, settings, checkpoint) : is_complete(options, settings)) {
      std::cerr << options.writing_params_path << " is complete, with these settings"
                << (interrupted_before ? "" : ", and no checkpoint is left") << ": nothing to resume\n";
      return write_json(options.common.json, {{"function", phase.function}, {"complete_before", true}});
    }
    if (!interrupted_before)
      std::cerr << "nothing to resume, " << checkpoint << " is not there: starting at the first step\n";
  }
  if (options.resume && interrupted_before) trainer.resumed_settings = settings_to_resume(options, phase, source, trainer);
  if (!options.recipe.empty() && trainer.progress != train::ProgressMode::off)
    train::announce("recipe: " + options.recipe + phase.note, trainer.progress);
  std::cout << "number of parameters: " << model.parameter_count() << std::endl;
  model.set_recompute(options.recompute);

  optim::AdamW optimizer(model.named_parameters(), {.rule = optim::decay_rule_from_string(options.decay)});
  const std::size_t notes = 4096 + 2 * trainer.settings.dump().size() + 4 * static_cast<std::size_t>(vocabulary.size());
  require_room(outputs, model, optimizer, notes, double(source.batches_per_epoch()) * double(options.max_epochs));
  const data::PaddedSource padded(source, options.padded ? data::Padding::to_full_length : data::Padding::to_longest);
  const bool takes_padding = options.padded || !model.config().takes_lengths();
  const auto loss = [&](const data::Batch& batch) { return prediction_loss(model, batch); };
  if (const data::BatchSource* held_out = phase.held_out.source.get()) {
    trainer.evaluate_every = steps_between_evaluations(options, source.batches_per_epoch());
    trainer.evaluated = options.eval_corpus_path;
    trainer.evaluate = [&, held_out] {
      train::Evaluation found{.loss = takes_padding ? train::mean_loss(model, data::PaddedSource(*held_out, data::Padding::to_longest), loss)
                                                    : train::mean_loss(model, *held_out, loss)};
      if (phase.held_out.score) std::tie(found.right, found.questions) = phase.held_out.score();
      return found;
    };
  }
  // The run ends with its model: until then a signal finds a checkpoint, or the model, or both.
  const train::SignalScope signals("\nstopping: what has begun is finished first; once more to leave at once\n");
  const train::TrainingResult result =
      train::train(model, model.generator(), optimizer, takes_padding ? padded : source, loss, trainer);
  const nlohmann::ordered_json summary = {{"function", phase.function}, {"steps", result.steps},
                                          {"tokens", result.tokens},    {"last_loss", result.last_loss},
                                          {"seconds", result.seconds},  {"interrupted", result.signal != 0}};
  if (result.signal != 0) {
    write_json(options.common.json, summary);
    throw ExitWith{128 + result.signal};
  }
  models::save_model(options.writing_params_path, model, vocabulary,
                     {{"function", phase.function},
                      {"seed", std::to_string(options.common.seed)},
                      {"steps", std::to_string(result.steps)},
                      {"settings", train::settings_text(settings)}});
  train::announce(fmt::format("wrote {} after {}, last loss {:.5f}, {:.0f} s", options.writing_params_path,
                              plural(result.steps, "step"), result.last_loss, result.seconds),
                  trainer.progress);
  const bool ended_early = result.steps / source.batches_per_epoch() < options.max_epochs;
  std::error_code ignored;  // the model is written, which is what counts
  if (!ended_early && !options.keep_checkpoint) std::filesystem::remove(io::destination_of(checkpoint).path, ignored);
  else if (io::is_there(checkpoint))
    std::cerr << fmt::format("kept {}: --resume goes on from there{}\n", checkpoint, ended_early ? "" : " with --extend");
  write_json(options.common.json, summary);
  if (const int signal = train::SignalScope::received(); signal != 0) throw ExitWith{128 + signal};
}

}  // namespace gradus::tools
