#include "framework/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "framework/autograd/autograd.h"
#include "framework/base/counts.h"
#include "framework/base/plural.h"
#include "framework/io/files.h"
#include "framework/kernels/cpu/denormals.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/train/checkpoint.h"
#include "framework/train/metrics_file.h"
#include "framework/train/signals.h"

namespace gradus::train {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Runs the batch again with every op checked: `; first: ...`, or nothing where the second look finds nothing.
std::string first_non_finite(const nn::Module& model, const LossFunction& loss, const data::Batch& batch) {
  try {
    const AnomalyScope anomaly;
    model.zero_gradients();
    backward(loss(data::on_device(batch, model.device())));
  } catch (const NumericError& error) {
    return std::string("; first: ") + error.what();
  }
  return "";
}

/// `every 200 steps (the next after step 400)`
std::string how_often(std::int64_t every, std::int64_t steps_done) {
  if (every == 1) return "every step";
  return fmt::format("every {} (the next after step {})", plural(every, "step"), in_prose((steps_done / every + 1) * every));
}

/// Looks at held-out data while a run goes on, as if nothing had happened to it.
class Evaluations {
 public:
  Evaluations(const TrainerOptions& options, nn::Module& model, Generator& generator, Progress& progress)
      : options_(options), model_(model), generator_(generator), progress_(progress) {}

  bool due(std::int64_t step, bool at_end) const {
    return options_.evaluate_every > 0 && (at_end || step % options_.evaluate_every == 0);
  }
  /// Adds what it finds to the step's line of metrics. Where a signal or an error stops it the line waits in `position`
  /// instead.
  void look(Position& position, nlohmann::ordered_json& line) {
    const Clock::time_point start = Clock::now();
    const Generator generator_before = generator_;
    progress_.status(fmt::format("step {}: looking at {}", in_prose(position.step), options_.evaluated));
    const auto back_to_training = [&] {
      generator_ = generator_before;
      model_.set_training(true);
      seconds_ += seconds_since(start);
    };
    try {
      const Evaluation found = options_.evaluate();
      position.unevaluated = nullptr;
      position.best.add(position.step, found);
      line["eval_loss"] = found.loss;
      if (found.questions > 0) line["eval_score"] = found.percent();
      progress_.message(fmt::format("step {}: {}", in_prose(position.step), found.text()));
    } catch (const EvaluationStopped&) {
      position.unevaluated = line;
    } catch (...) {
      position.unevaluated = line;
      back_to_training();
      throw;
    }
    back_to_training();
  }
  /// All looks together.
  double seconds() const { return seconds_; }

 private:
  const TrainerOptions& options_;
  nn::Module& model_;
  Generator& generator_;
  Progress& progress_;
  double seconds_ = 0;
};

/// Throws DataError where a checkpoint's counts are not those of a run over `source`.
void require_position_in(const data::BatchSource& source, const Position& position, const std::string& path) {
  const std::int64_t batches = source.batches_per_epoch();
  if (position.batch >= batches) fail<DataError>("{}: its position is outside the training data", path);
  std::int64_t steps, tokens;
  const bool overflow = __builtin_mul_overflow(position.epoch, batches, &steps) || __builtin_add_overflow(steps, position.batch, &steps) ||
                        __builtin_mul_overflow(position.epoch, source.counted_tokens_per_epoch(), &tokens);
  if (overflow || position.step != steps) {
    fail<DataError>("{}: its state is damaged: {} done, which are not {} of {} and {} more", path, plural(position.step, "step"),
                    plural(position.epoch, "epoch"), plural(batches, "batch", "batches"), position.batch);
  }
  if (position.batch > 0) tokens += position.batch * source.batch(position.epoch, 0).counted_tokens;
  if (position.tokens != tokens)
    fail<DataError>("{}: its state is damaged: {} tokens are counted, so many steps count {}", path, position.tokens, tokens);
}

/// The learning rate's curve over the run's steps, and a warning where it climbs again.
void describe(const optim::TokenSchedule& schedule, std::int64_t epoch_tokens, std::int64_t batches, std::int64_t steps,
              Progress& progress) {
  const double step_tokens = double(epoch_tokens) / double(batches);
  const auto rate_after = [&](std::int64_t step) { return schedule.rate(std::llround(double(step) * step_tokens)); };
  const auto parts = static_cast<int>(std::clamp<std::int64_t>(progress.width() - 15, 4, 60));
  progress.message(fmt::format("learning rate: {}", schedule.drawing(std::llround(double(steps) * step_tokens), parts)));
  std::string rates = fmt::format("  {:.2e} in step 1", schedule.peak);
  for (int tenth = 1; tenth <= 10; ++tenth) {
    const std::int64_t step = steps * tenth / 10;
    if (step > 1 && step > steps * (tenth - 1) / 10)
      rates += fmt::format("{} {:.2e} in {}", tenth == 6 && !progress.draws_bar() ? ",\n " : ",", rate_after(step - 1), step);
  }
  progress.message(rates);
  if (const auto from = schedule.climbs_again(std::llround(double(steps) * step_tokens))) {
    progress.message(
        fmt::format("warning: the rate climbs again after step {:.0f}, epoch {:.1f}; --hold_rate keeps it at its floor",
                    double(*from) / step_tokens, double(*from) / double(epoch_tokens)));
  }
}

}  // namespace

TrainingResult train(nn::Module& model, Generator& generator, optim::AdamW& optimizer, const data::BatchSource& source,
                     const LossFunction& loss, const TrainerOptions& options) {
  const std::int64_t batches = source.batches_per_epoch(), steps_of_all_epochs = count_of("steps", options.max_epochs, batches);
  count_of("tokens", options.max_epochs, source.counted_tokens_per_epoch());
  const bool ends_early = options.max_steps > 0 && options.max_steps < steps_of_all_epochs;
  const std::int64_t total_steps = ends_early ? options.max_steps : steps_of_all_epochs;
  if (batches < 1) fail<DataError>("there is nothing to train on");
  Position position;
  Progress progress(options.progress);
  const bool resumed = options.resume && io::is_there(options.checkpoint_path);
  if (resumed) {
    const nlohmann::json& required = options.resumed_settings.is_null() ? options.settings : options.resumed_settings;
    const auto [saved, notice] =
        load_checkpoint(options.checkpoint_path, model, optimizer, generator, required, options.other_arithmetic);
    position = saved;
    require_position_in(source, position, options.checkpoint_path);
    if (!notice.empty()) progress.message("note: " + notice);
    if (position.step > total_steps)
      fail<UsageError>("{}: {} done, more than the run is to have (max_steps {})", options.checkpoint_path,
                       position.step == 1 ? "1 step is" : plural(position.step, "step") + " are", total_steps);
    progress.message(fmt::format("resumed from {}: {} of {} done", options.checkpoint_path, in_prose(position.step), plural(total_steps, "step")));
  }
  position.total_steps = total_steps;
  MetricsFile metrics(options.metrics_path, position.step - !position.unevaluated.is_null());
  const std::string runs_on =
      model.device() == Device{} ? plural(cpu::thread_count(), "thread") : describe(model.device());
  progress.message(fmt::format("{} ({}{} of {}), {}, {}; {}", plural(total_steps, "step"), ends_early ? "of " : "",
                               plural(options.max_epochs, "epoch"), plural(batches, "batch", "batches"),
                               plural(model.parameter_count(), "parameter"), runs_on, optimizer.describe()));
  describe(options.schedule, source.counted_tokens_per_epoch(), batches, total_steps, progress);
  if (!options.checkpoint_path.empty()) {
    progress.message(fmt::format("checkpoints go to {}: {}on Ctrl-C and every {}", options.checkpoint_path,
                                 options.checkpoint_every > 0 ? how_often(options.checkpoint_every, position.step) + ", " : "",
                                 options.checkpoint_seconds == 1 ? "second" : fmt::format("{:g} seconds", options.checkpoint_seconds)));
  }
  Evaluations evaluations(options, model, generator, progress);
  if (options.evaluate_every > 0) {
    progress.message(fmt::format("evaluated on {}: {}, and at the end", options.evaluated,
                                 how_often(options.evaluate_every, position.step)));
  }

  const SignalScope signals(options.checkpoint_path.empty()
                                ? "\nstopping after this step; once more to leave at once\n"
                                : "\nstopping: the step is finished and saved first; once more to leave at once\n");
  const Clock::time_point start = Clock::now();
  Clock::time_point last_checkpoint = start;
  const double seconds_before = position.seconds;
  const std::int64_t steps_before = position.step;
  TrainingResult result;
  double rate = position.step == 0 ? options.schedule.peak : options.schedule.rate(position.tokens);
  const auto save = [&] {
    if (options.checkpoint_path.empty()) return;
    position.seconds = seconds_before + seconds_since(start);
    save_checkpoint(options.checkpoint_path, model, optimizer, generator, position, options.settings, options.notes);
    last_checkpoint = Clock::now();
  };
  // Where a checkpoint cannot be written the one before still stands, and there may be room for the next.
  const auto try_save = [&] {
    try {
      save();
      return !options.checkpoint_path.empty();
    } catch (const OutputError& error) {
      last_checkpoint = Clock::now();
      progress.message(fmt::format("warning: no checkpoint after step {}: {}", position.step, error.what()));
      return false;
    }
  };

  const cpu::FlushDenormals flush_denormals;
  model.set_training(true);
  TrainingStep step(model, generator, optimizer, loss,
                    {.micro_batches = options.micro_batches, .clip_norm = options.clip_norm, .graph = options.graph});
  bool said_graph = false;
  data::Batch next;
  const auto ends_at = [&](std::int64_t epoch, std::int64_t steps) {
    return epoch >= options.max_epochs || (ends_early && steps >= total_steps);
  };
  const auto write_metrics = [&](const nlohmann::ordered_json& line) {
    try {
      metrics.write(line);
    } catch (const OutputError&) {
      try_save();
      throw;
    }
  };
  const auto look_and_write = [&](nlohmann::ordered_json line, bool due) {
    try {
      if (due) evaluations.look(position, line);
    } catch (...) {
      try_save();
      throw;
    }
    if (position.unevaluated.is_null()) write_metrics(line);
  };
  if (!position.unevaluated.is_null()) {
    const nlohmann::ordered_json line = std::exchange(position.unevaluated, nullptr);
    look_and_write(line, options.evaluate_every > 0);
    result.signal = position.unevaluated.is_null() ? 0 : SignalScope::received();
  }
  bool at_end = ends_at(position.epoch, position.step);
  if (!at_end) next = source.batch(position.epoch, position.batch);
  while (!at_end && result.signal == 0) {
    const Clock::time_point step_start = Clock::now();
    const data::Batch batch = std::move(next);
    const Generator generator_before = generator;
    const auto blame_non_finite = [&](const char* what) {
      generator = generator_before;
      const std::string saved =
          try_save() ? fmt::format(". The state before this step is in {}", options.checkpoint_path) : "";
      fail<NumericError>("step {}: {} is not finite{}{}", position.step + 1, what, first_non_finite(model, loss, batch), saved);
    };
    step.begin(batch, rate);
    const std::int64_t epoch = position.epoch, index = position.batch;
    const bool ends_epoch = index + 1 == batches;
    const std::int64_t next_epoch = epoch + ends_epoch, next_index = ends_epoch ? 0 : index + 1;
    at_end = ends_at(next_epoch, position.step + 1);
    if (!at_end) next = source.batch(next_epoch, next_index);  // while a device works
    const auto [loss_value, gradient_norm] = step.finish();
    if (step.ran_as_graph() && !std::exchange(said_graph, true)) {
      progress.message(fmt::format("from step {} on, steps of this shape are one CUDA graph", position.step + 1));
    }
    if (!std::isfinite(loss_value)) blame_non_finite("the loss");
    if (!std::isfinite(gradient_norm)) blame_non_finite("the gradient norm");

    position.epoch = next_epoch, position.batch = next_index;
    ++position.step;
    position.tokens += batch.counted_tokens;
    rate = options.schedule.rate(position.tokens);
    const double step_seconds = seconds_since(step_start), tokens_per_second = batch.counted_tokens / step_seconds;
    const double per_step = (seconds_since(start) - evaluations.seconds()) / double(position.step - steps_before);
    position.last_loss = loss_value;
    position.losses.add(position.step, loss_value);
    progress.step({.epoch = epoch,
                   .batch = index,
                   .batches_per_epoch = batches,
                   .step = position.step,
                   .total_steps = total_steps,
                   .loss = loss_value,
                   .smoothed_loss = position.losses.smoothed(),
                   .learning_rate = rate,
                   .tokens_per_second = tokens_per_second,
                   .seconds_left = per_step * double(total_steps - position.step)});
    look_and_write({{"step", position.step},
                    {"epoch", epoch + 1},
                    {"iter", index},
                    {"tokens", position.tokens},
                    {"loss", loss_value},
                    {"loss_smoothed", position.losses.smoothed()},
                    {"lr", rate},
                    {"grad_norm", gradient_norm},
                    {"seconds", seconds_before + seconds_since(start)},
                    {"tokens_per_second", tokens_per_second}},
                   evaluations.due(position.step, at_end));

    result.signal = SignalScope::received();
    const bool due = (options.checkpoint_every > 0 && position.step % options.checkpoint_every == 0) ||
                     std::chrono::duration<double>(Clock::now() - last_checkpoint).count() > options.checkpoint_seconds;
    const bool requested = SignalScope::take_save_request();
    if (result.signal != 0) save();
    else if ((requested || due || at_end) && try_save() && requested)
      progress.message(fmt::format("saved {} after step {}", options.checkpoint_path, position.step));
  }
  const std::string curve = position.losses.drawing(progress.width());
  if (!curve.empty()) progress.message(curve);
  if (const std::string best = position.best.text(); !best.empty()) progress.message(best);
  if (result.signal != 0 && !options.checkpoint_path.empty())
    progress.message(fmt::format("saved {} after step {}; go on with --resume", options.checkpoint_path, position.step));
  result.steps = position.step;
  result.tokens = position.tokens;
  result.last_loss = position.last_loss;
  result.best = position.best;
  result.seconds = seconds_before + seconds_since(start);
  return result;
}

}  // namespace gradus::train
