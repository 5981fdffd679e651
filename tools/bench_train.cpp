#include <algorithm>
#include <iostream>
#include <optional>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/tensor/creation.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tools/bench.h"
#include "tools/training_run.h"

namespace gradus::tools {
namespace {

struct BenchTrainOptions {
  CommonOptions common;
  std::int64_t batch = 128, length = 128, steps = 5, warmup = 2;
  std::string corpus;
  bool recompute = false, padded = false, eager = false;
};

/// The batches to train on: step -> batch.
using Batches = std::function<data::Batch(std::int64_t)>;

/// Rows of one length, of random ids; the same for every step.
Batches synthetic_batches(const BenchTrainOptions& options) {
  Generator generator(options.common.seed);
  const auto ids = [&] { return random_integers({options.batch, options.length}, generator, 1, 255); };
  const std::int64_t tokens = options.batch * options.length;
  return [batch = data::Batch{ids(), ids(), {}, tokens, tokens}](std::int64_t) { return batch; };
}

Batches batches_of(const data::BatchSource& source) {
  return [&source](std::int64_t step) {
    return source.batch(step / source.batches_per_epoch(), step % source.batches_per_epoch());
  };
}

/// What one step took, and how much it did.
struct TimedStep {
  double seconds = 0, counted_tokens = 0, computed_tokens = 0, loss = 0;
  bool graph = false;
};

/// Steps as the trainer makes them, at a constant rate: the next batch is made while a device works.
std::vector<TimedStep> run_steps(train::TrainingStep& step, const Batches& batches, std::int64_t count) {
  std::vector<TimedStep> steps;
  data::Batch next = batches(0);
  for (std::int64_t number = 1; number <= count; ++number) {
    const Stopwatch watch;
    const data::Batch batch = std::move(next);
    step.begin(batch, 6e-4);
    next = batches(number);
    const double loss = step.finish().loss;
    steps.push_back(
        {watch.seconds(), double(batch.counted_tokens), double(batch.inputs.numel()), loss, step.ran_as_graph()});
  }
  return steps;
}

void check_options(const BenchTrainOptions& options) {
  require_between("--batch", options.batch, 1, 1 << 16);
  require_between("--length", options.length, 1, models::GptConfig().block_size);
  if (options.padded && options.corpus.empty())
    fail<UsageError>("--padded goes with --corpus: rows of random ids have no padding");
  require_between("--steps", options.steps, 1, 1000000);
  require_between("--warmup", options.warmup, 0, 1000000);
}

nlohmann::ordered_json rates(const std::string& name, const Spread& spread) {
  return {{name, spread.median}, {name + "_min", spread.least}, {name + "_max", spread.most}};
}

/// Prints and writes the rates of the steps.
void report(const BenchTrainOptions& options, Device device, const std::vector<TimedStep>& steps) {
  std::vector<double> seconds, counted_rates, computed_rates;
  double counted = 0, computed = 0;
  for (const TimedStep& step : steps) {
    seconds.push_back(step.seconds);
    counted_rates.push_back(step.counted_tokens / step.seconds);
    computed_rates.push_back(step.computed_tokens / step.seconds);
    counted += step.counted_tokens, computed += step.computed_tokens;
  }
  const Spread time = spread_of(seconds), counted_rate = spread_of(counted_rates),
               computed_rate = spread_of(computed_rates);
  const double padding = 1 - computed / counted;
  const bool all_graphs = std::all_of(steps.begin(), steps.end(), [](const TimedStep& step) { return step.graph; });
  const PeakMemory memory = peak_memory(device);
  std::cout << fmt::format("{:.0f} tokens/s, {:.0f} to {:.0f} (median of {} of {:.4f} s), {}, {}{}\n",
                           counted_rate.median, counted_rate.least, counted_rate.most, plural(steps.size(), "step"), time.median,
                           options.common.dtype, runs_on(device), all_graphs ? ", each step one graph" : "");
  if (!options.corpus.empty()) {
    std::cout << fmt::format(
        "{:.0f} of them are computed, {:.0f} to {:.0f}; {:.1f} % are padding, which the schedule counts\n",
        computed_rate.median, computed_rate.least, computed_rate.most, 100 * padding);
  }
  std::cout << fmt::format("peak memory {} MiB, tensors {} MiB\n", memory.process, memory.tensors);
  nlohmann::ordered_json json = {
      {"what", "gradus_train"},        {"corpus", options.corpus.empty() ? "synthetic" : options.corpus},
      {"batch", options.batch},        {"length", options.length},
      {"dtype", options.common.dtype}, {"threads", cpu::thread_count()},
      {"device", describe(device)},    {"processor", processor_name()},
      {"steps", steps.size()},         {"recompute", options.recompute},
      {"padded", options.padded},      {"graph", all_graphs}};
  json.update(rates("tokens_per_s", counted_rate));
  json.update(rates("computed_tokens_per_s", computed_rate));
  json.update(nlohmann::ordered_json{{"padding_share", padding},
                                     {"step_s_median", time.median},
                                     {"step_s_min", time.least},
                                     {"step_s_max", time.most},
                                     {"peak_rss_mib", memory.process},
                                     {"peak_tensor_mib", memory.tensors},
                                     {"loss_last", steps.back().loss}});
  write_json(options.common.json, json);
}

void bench_train(const BenchTrainOptions& options) {
  const Compute compute = options.common.apply();
  check_options(options);
  std::optional<tasks::Corpus> corpus;
  std::optional<tasks::SpanCorruption> source;
  models::GptConfig config;
  Batches batches;
  if (options.corpus.empty()) {
    batches = synthetic_batches(options);
  } else {
    corpus = tasks::load_corpus(options.corpus);
    print_notices(corpus->notices);
    config.vocabulary_size = corpus->vocabulary.size();
    source.emplace(*corpus, tasks::assignment_rules(options.length, options.length - 1), options.batch,
                   options.common.seed);
    batches = [&, ragged = batches_of(*source)](std::int64_t step) {
      return options.padded ? data::padded(ragged(step), data::Padding::to_full_length) : ragged(step);
    };
  }
  models::Gpt model(config, options.common.seed, compute.dtype);
  model.to(compute.device);
  model.set_recompute(options.recompute);
  optim::AdamW optimizer(model.named_parameters(), {});
  train::TrainingStep step(model, model.generator(), optimizer,
                           [&](const data::Batch& batch) { return prediction_loss(model, batch); },
                           {.graph = !options.eager});
  std::vector<TimedStep> steps = run_steps(step, batches, options.warmup + options.steps);
  steps.erase(steps.begin(), steps.begin() + options.warmup);
  report(options, compute.device, steps);
}

}  // namespace

void add_bench_train(CLI::App& bench) {
  auto options = std::make_shared<BenchTrainOptions>();
  CLI::App* command = bench.add_subcommand("train", "Training steps of the vanilla model");
  command
      ->add_option("--corpus", options->corpus,
                   "Pretrain on this corpus, without computing padding, as `gradus pretrain --edition 2023` does; else "
                   "random ids")
      ->type_name("FILE");
  add_integer(*command, "--batch", options->batch, "Sequences in a batch");
  add_integer(*command, "--length", options->length, "Tokens in a sequence; with --corpus the block size");
  add_integer(*command, "--steps", options->steps, "Steps that are timed");
  add_integer(*command, "--warmup", options->warmup, "Steps before");
  add_recompute(*command, options->recompute);
  command->add_flag("--padded", options->padded, "With --corpus: compute padding too, as `gradus pretrain --padded`");
  add_eager(*command, options->eager);
  add_common_options(*command, options->common);
  add_examples(*command,
               "  gradus bench train --batch 8 --steps 3\n"
               "  gradus bench train --batch 8 --steps 3 --recompute\n"
               "  gradus bench train --threads 1 --json -\n"
               "  gradus bench train --dtype bf16 --eager\n"
               "  gradus bench train --corpus wiki.txt");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    bench_train(*options);
  });
}

}  // namespace gradus::tools
