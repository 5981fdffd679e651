#include <iostream>

#include "framework/base/error.h"
#include "framework/data/text_file.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "models/gpt/continuation.h"
#include "tasks/char_lm/sampling.h"
#include "tools/commands.h"
#include "tools/model_files.h"
#include "tools/options.h"

namespace gradus::tools {
namespace {

struct SampleOptions {
  CommonOptions common;
  std::string model, prompt;
  tasks::SamplingRules rules;
  std::int64_t max_new = 100, num_samples = 1;
  bool no_cache = false;
};

void check(const SampleOptions& options) {
  const auto not_negative = [](const char* flag, auto value) {
    if (!(value >= 0)) fail<UsageError>("{} must not be negative, not {}", flag, value);
  };
  not_negative("--temperature", options.rules.temperature);
  not_negative("--top_k", options.rules.top_k);
  not_negative("--max_new", options.max_new);
  if (!(options.rules.top_p > 0 && options.rules.top_p <= 1))
    fail<UsageError>("--top_p must be above 0 and at most 1, not {}", options.rules.top_p);
  if (options.num_samples < 1) fail<UsageError>("--num_samples must be at least 1, not {}", options.num_samples);
}

void sample(SampleOptions& options) {
  const Compute compute = options.common.apply();
  check(options);
  std::u32string prompt_text;
  if (options.prompt == "-") {
    data::TextFile file = data::parse_text(io::read_file("/dev/stdin"), "--prompt -");
    print_notices(file.notices);
    prompt_text = std::move(file.text);
    options.prompt = data::encode_utf8(prompt_text);
  } else {
    prompt_text = characters_of("--prompt", options.prompt);
  }
  require_distinct({{"MODEL", options.model}}, {{"--json", options.common.json}});
  require_no_model({{"--json", options.common.json}});
  models::LoadedModel loaded = read_model(options.model, "", options.common.seed, compute.dtype);
  loaded.model->to(compute.device);
  const std::vector<std::int64_t> prompt = loaded.vocabulary.encode(prompt_text, "--prompt");
  if (prompt.empty()) fail<UsageError>("--prompt must not be empty: the model continues it");
  loaded.model->set_training(false);
  nlohmann::ordered_json samples = nlohmann::ordered_json::array();
  for (std::int64_t number = 0; number < options.num_samples; ++number) {
    StreamReader random(options.common.seed, static_cast<std::uint64_t>(number));
    models::Continuation text(*loaded.model, {prompt}, !options.no_cache);
    std::cout << options.prompt;
    for (std::int64_t step = 0; step < options.max_new; ++step) {
      const std::int64_t next = tasks::draw(text.next_logits().to_vector<double>(), options.rules, random);
      text.append({next});
      std::cout << data::encode_utf8(loaded.vocabulary.decode({next})) << std::flush;
    }
    std::cout << "\n";
    const std::vector<std::int64_t>& ids = text.sequences()[0];
    samples.push_back(data::encode_utf8(
        loaded.vocabulary.decode({ids.begin() + static_cast<std::ptrdiff_t>(prompt.size()), ids.end()})));
  }
  write_json(options.common.json, {{"prompt", options.prompt}, {"samples", samples}});
}

}  // namespace

void add_sample(CLI::App& program) {
  auto options = std::make_shared<SampleOptions>();
  CLI::App* command = program.add_subcommand("sample", "Continue a prompt, character by character");
  command->add_option("MODEL", options->model, "A model written by pretrain, finetune or pretrain-text, or a checkpoint")->required();
  command->add_option("--prompt", options->prompt, "Text to continue, - for standard input")->required();
  command->add_option("--temperature", options->rules.temperature, "0 takes the likeliest character each time")
      ->capture_default_str();
  add_integer(*command, "--top_k", options->rules.top_k, "Draw among the K likeliest only; 0 for all");
  command
      ->add_option("--top_p", options->rules.top_p,
                   "Draw among the fewest likeliest that together have this share of the probability (nucleus)")
      ->capture_default_str();
  add_integer(*command, "--max_new", options->max_new, "Characters to add");
  add_integer(*command, "--num_samples", options->num_samples, "Continuations");
  command->add_flag("--no_cache", options->no_cache,
                    "Compute all of the context anew for each character: slower, the same text but for rounding");
  add_common_options(*command, options->common);
  add_examples(*command,
               "  gradus sample vanilla.pretrain.params --prompt 'born ⁇. Khatchig Mouradian⁇' --temperature 0\n"
               "  gradus sample vanilla.pretrain.params --prompt 'John' --top_k 10 --num_samples 3 --seed 7\n"
               "  gradus sample shakespeare.params --prompt 'O God, O God!' --top_p 0.9 --max_new 2000");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    sample(*options);
  });
}

}  // namespace gradus::tools
