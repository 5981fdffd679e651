#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <iostream>

#include "framework/autograd/autograd.h"
#include "framework/base/error.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/ops/ops.h"
#include "framework/tensor/allocator.h"
#include "tools/commands.h"
#include "tools/training_run.h"

namespace gradus::tools {
namespace {

struct BenchOptions {
  CommonOptions common;
  std::int64_t batch = 128, length = 128, steps = 5, warmup = 1;
  bool recompute = false;
};

/// Dense steps of the vanilla model on synthetic tokens: forward, loss, backward, clip, AdamW.
void bench_train(const BenchOptions& options) {
  const DType dtype = options.common.apply();
  if (options.batch < 1 || options.length < 1 || options.steps < 1 || options.warmup < 0) fail<UsageError>("--batch, --length and --steps must be at least 1");
  models::Gpt model({}, options.common.seed, dtype);
  model.set_recompute(options.recompute);
  optim::AdamW optimizer(model.named_parameters(), {});
  Generator generator(options.common.seed);
  data::Batch batch{random_integers({options.batch, options.length}, generator, 1, 255),
                    random_integers({options.batch, options.length}, generator, 1, 255),
                    {},
                    0};
  std::vector<double> seconds;
  double last_loss = 0;
  for (std::int64_t step = 0; step < options.warmup + options.steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    const Tensor loss = prediction_loss(model, batch);
    model.zero_gradients();
    backward(loss);
    {
      const NoGradScope no_grad;
      clip_by_global_norm_(optimizer.gradients(), 1.0);
    }
    optimizer.step(6e-4);
    last_loss = loss.item();
    if (step >= options.warmup) seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  const double tokens = static_cast<double>(options.batch * options.length), median = seconds[seconds.size() / 2];
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  const std::int64_t rss_mib = usage.ru_maxrss / 1024, tensor_mib = allocator::statistics().peak_bytes_in_use >> 20;
  const nlohmann::ordered_json json = {{"what", "gradus_train"},
                                       {"batch", options.batch},
                                       {"length", options.length},
                                       {"dtype", options.common.dtype},
                                       {"threads", cpu::thread_count()},
                                       {"steps", options.steps},
                                       {"tokens_per_s", tokens / median},
                                       {"tokens_per_s_min", tokens / seconds.back()},
                                       {"tokens_per_s_max", tokens / seconds.front()},
                                       {"step_s_median", median},
                                       {"recompute", options.recompute},
                                       {"peak_rss_mib", rss_mib},
                                       {"peak_tensor_mib", tensor_mib},
                                       {"loss_last", last_loss}};
  std::cout << fmt::format(
      "{:.0f} tokens/s (median of {} steps of {:.2f} s), {} threads, {} MiB, {} MiB of them in tensors\n",
      tokens / median, seconds.size(), median, cpu::thread_count(), rss_mib, tensor_mib);
  write_json(options.common.json, json);
}

}  // namespace

void add_bench(CLI::App& program) {
  CLI::App* bench = program.add_subcommand("bench", "Measure speed");
  bench->require_subcommand(1);
  auto options = std::make_shared<BenchOptions>();
  CLI::App* training = bench->add_subcommand("train", "Training steps of the vanilla model on synthetic tokens");
  add_integer(*training, "--batch", options->batch, "Sequences in a batch");
  add_integer(*training, "--length", options->length, "Tokens in a sequence");
  add_integer(*training, "--steps", options->steps, "Steps that are timed");
  add_integer(*training, "--warmup", options->warmup, "Steps before");
  add_recompute(*training, options->recompute);
  add_common_options(*training, options->common);
  add_examples(*training,
               "  gradus bench train --batch 8 --steps 3\n  gradus bench train --batch 8 --steps 3 --recompute\n  "
               "gradus bench train --threads 1 --json -");
  training->callback([options, training] {
    if (options->common.print_config) return print_config(*training);
    bench_train(*options);
  });
}

}  // namespace gradus::tools
