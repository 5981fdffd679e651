#include <algorithm>
#include <iostream>

#include "framework/autograd/modes.h"
#include "framework/base/plural.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/ops/ops.h"
#include "framework/random/generator.h"
#include "framework/tensor/creation.h"
#include "tasks/birthplace/evaluation.h"
#include "tools/bench.h"

namespace gradus::tools {
namespace {

using Ids = std::vector<std::int64_t>;

struct BenchGenerateOptions {
  CommonOptions common;
  std::int64_t questions = 200, plain_questions = 20, characters = tasks::answer_characters;
};

/// As long as the course's questions, of random ids.
std::vector<Ids> random_questions(std::int64_t count, std::uint64_t seed) {
  constexpr std::int64_t shortest = 25, longest = 45;
  StreamReader draw(seed, 0);
  std::vector<Ids> questions(static_cast<std::size_t>(count));
  for (Ids& question : questions) {
    question.resize(static_cast<std::size_t>(draw.next_integer(shortest, longest)));
    for (std::int64_t& id : question) id = draw.next_integer(1, 255);
  }
  return questions;
}

/// One question at a time, and everything anew for every character.
std::vector<Ids> decode_plainly(models::Gpt& model, std::vector<Ids> sequences, std::int64_t count) {
  const NoGradScope no_grad;
  model.set_training(false);
  for (Ids& sequence : sequences) {
    for (std::int64_t step = 0; step < count; ++step) {
      const auto length = static_cast<std::int64_t>(sequence.size());
      const Tensor logits = model.forward(on_device(from_values({1, length}, sequence), model.device()));
      sequence.push_back(static_cast<std::int64_t>(argmax(slice(logits, 1, length - 1, length)).item()));
    }
  }
  return sequences;
}

void bench_generate(const BenchGenerateOptions& options) {
  const Compute compute = options.common.apply();
  require_between("--questions", options.questions, 1, 1000000);
  require_between("--plain_questions", options.plain_questions, 1, options.questions);
  require_between("--characters", options.characters, 1, 64);
  models::Gpt model({}, options.common.seed, compute.dtype);
  model.to(compute.device);
  const std::vector<Ids> questions = random_questions(options.questions, options.common.seed);
  const std::vector<Ids> few(questions.begin(), questions.begin() + options.plain_questions);
  decode_plainly(model, {few.front()}, options.characters);  // the first run pays for the memory

  const Stopwatch cached_watch;
  const std::vector<Ids> cached = tasks::decode_greedily(model, questions, options.characters);
  const double cached_rate = double(options.questions * options.characters) / cached_watch.seconds();
  const Stopwatch plain_watch;
  const std::vector<Ids> plain = decode_plainly(model, few, options.characters);
  const double plain_rate = double(options.plain_questions * options.characters) / plain_watch.seconds();

  std::int64_t same = 0;
  for (std::size_t i = 0; i < plain.size(); ++i) same += plain[i] == cached[i];
  std::cout << fmt::format(
      "{}, {}\n{:.0f} characters/s, {} in groups with a cache of keys and values\n"
      "{:.0f} characters/s, {} one at a time without: {:.1f} times slower, {} of {} answers the same\n",
      options.common.dtype, runs_on(compute.device), cached_rate, plural(options.questions, "question"), plain_rate,
      plural(options.plain_questions, "question"), cached_rate / plain_rate, same, plain.size());
  const PeakMemory memory = peak_memory(compute.device);
  write_json(options.common.json, {{"what", "gradus_generate"},
                                   {"dtype", options.common.dtype},
                                   {"threads", cpu::thread_count()},
                                   {"device", describe(compute.device)},
                                   {"processor", processor_name()},
                                   {"questions", options.questions},
                                   {"characters", options.characters},
                                   {"characters_per_s", cached_rate},
                                   {"plain_questions", options.plain_questions},
                                   {"plain_characters_per_s", plain_rate},
                                   {"ratio", cached_rate / plain_rate},
                                   {"same_answers", same},
                                   {"peak_rss_mib", memory.process},
                                   {"peak_tensor_mib", memory.tensors}});
}

}  // namespace

void add_bench_generate(CLI::App& bench) {
  auto options = std::make_shared<BenchGenerateOptions>();
  CLI::App* command =
      bench.add_subcommand("generate", "Greedy decoding, as `gradus evaluate` does it and without its cache");
  add_integer(*command, "--questions", options->questions, "Questions of random ids, answered in groups with a cache");
  add_integer(*command, "--plain_questions", options->plain_questions,
              "The first so many of them again, one at a time without a cache");
  add_integer(*command, "--characters", options->characters, "Characters of an answer");
  add_common_options(*command, options->common);
  add_examples(*command,
               "  gradus bench generate\n"
               "  gradus bench generate --questions 500 --threads 1 --json -");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    bench_generate(*options);
  });
}

}  // namespace gradus::tools
