#include <algorithm>
#include <cmath>
#include <iostream>
#include <iterator>
#include <numeric>

#include "framework/autograd/modes.h"
#include "framework/base/error.h"
#include "framework/data/utf8.h"
#include "framework/ops/ops.h"
#include "models/model_file.h"
#include "tools/commands.h"
#include "tools/options.h"

namespace gradus::tools {
namespace {

struct SampleOptions {
  CommonOptions common;
  std::string model, prompt;
  double temperature = 1;
  std::int64_t top_k = 0, max_new = 100, num_samples = 1;
};

/// Draws from softmax(logits / temperature) over the top_k largest; temperature 0 takes the largest.
std::int64_t draw(const std::vector<double>& logits, const SampleOptions& options, StreamReader& random) {
  std::vector<std::int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return logits[a] > logits[b]; });
  if (options.temperature == 0) return order[0];
  if (options.top_k > 0 && options.top_k < static_cast<std::int64_t>(order.size())) order.resize(options.top_k);
  std::vector<double> weights;
  for (std::int64_t id : order) weights.push_back(std::exp((logits[id] - logits[order[0]]) / options.temperature));
  double left = random.next_uniform() * std::accumulate(weights.begin(), weights.end(), 0.0);
  for (std::size_t i = 0; i < order.size(); ++i) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order.back();
}

void sample(SampleOptions& options) {
  const Compute compute = options.common.apply();
  if (!(options.temperature >= 0)) fail<UsageError>("--temperature must not be negative, not {}", options.temperature);
  if (options.top_k < 0 || options.max_new < 0 || options.num_samples < 1) fail<UsageError>("--top_k, --max_new and --num_samples must not be negative");
  if (options.prompt == "-") options.prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  require_distinct({{"MODEL", options.model}}, {{"--json", options.common.json}});
  models::LoadedModel loaded = models::load_model(options.model, "", options.common.seed, compute.dtype);
  loaded.model->to(compute.device);
  const std::vector<std::int64_t> prompt = loaded.vocabulary.encode(data::decode_utf8(options.prompt, "--prompt"), "--prompt");
  if (prompt.empty()) fail<UsageError>("--prompt must not be empty: the model continues it");
  loaded.model->set_training(false);
  const NoGradScope no_grad;
  nlohmann::ordered_json samples = nlohmann::ordered_json::array();
  for (std::int64_t number = 0; number < options.num_samples; ++number) {
    StreamReader random(options.common.seed, static_cast<std::uint64_t>(number));
    std::vector<std::int64_t> ids = prompt;
    std::cout << options.prompt;
    for (std::int64_t step = 0; step < options.max_new; ++step) {
      const std::int64_t context = std::min<std::int64_t>(ids.size(), loaded.model->longest());
      const Tensor seen = from_values({1, context}, std::vector<std::int64_t>(ids.end() - context, ids.end()));
      const Tensor logits = loaded.model->forward(on_device(seen, compute.device));
      ids.push_back(draw(slice(logits, 1, context - 1, context).to_vector<double>(), options, random));
      std::cout << data::encode_utf8(loaded.vocabulary.decode({ids.back()})) << std::flush;
    }
    std::cout << "\n";
    samples.push_back(data::encode_utf8(
        loaded.vocabulary.decode({ids.begin() + static_cast<std::ptrdiff_t>(prompt.size()), ids.end()})));
  }
  write_json(options.common.json, {{"prompt", options.prompt}, {"samples", samples}});
}

}  // namespace

void add_sample(CLI::App& program) {
  auto options = std::make_shared<SampleOptions>();
  CLI::App* command = program.add_subcommand("sample", "Continue a prompt, character by character");
  command->add_option("MODEL", options->model, "A model written by pretrain or finetune")->required();
  command->add_option("--prompt", options->prompt, "Text to continue, - for standard input")->required();
  command->add_option("--temperature", options->temperature, "0 takes the likeliest character each time")->capture_default_str();
  add_integer(*command, "--top_k", options->top_k, "Draw among the K likeliest only; 0 for all");
  add_integer(*command, "--max_new", options->max_new, "Characters to add");
  add_integer(*command, "--num_samples", options->num_samples, "Continuations");
  add_common_options(*command, options->common);
  add_examples(*command,
               "  gradus sample vanilla.pretrain.params --prompt 'Khatchig Mouradian. ' --temperature 0\n"
               "  gradus sample vanilla.pretrain.params --prompt 'John' --top_k 10 --num_samples 3 --seed 7");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    sample(*options);
  });
}

}  // namespace gradus::tools
