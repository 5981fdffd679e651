#include <iostream>

#include "framework/base/error.h"
#include "tasks/char_lm/character_text.h"
#include "tools/commands.h"
#include "tools/held_out.h"
#include "tools/process.h"
#include "tools/training_run.h"

namespace gradus::tools {
namespace {

/// Those of minGPT's character demo.
TrainingRunOptions demo_defaults() {
  TrainingRunOptions options;
  options.common.seed = 42;
  options.variant = "vanilla";
  options.corpus_argument = "TEXT";
  options.decay = "standard";
  options.max_epochs = 2;
  options.warmup_tokens = "10240";
  options.batch_size = 512;
  options.layers = 8;
  options.heads = 8;
  options.width = 512;
  options.pretrain_lr = 6e-4;
  return options;
}

void pretrain_text(const TrainingRunOptions& options) {
  outlive_readers();
  const Compute compute = options.common.apply();
  check_training_options(options);
  const tasks::CharacterText source(options.corpus, options.block_size, options.batch_size, options.common.seed);
  print_notices(source.notices());
  std::cout << source.summary() << std::endl;
  models::Gpt model(model_config(options, source.vocabulary().size()), options.common.seed, compute.dtype);
  model.to(compute.device);
  const TrainingPhase phase{.function = "pretrain-text",
                            .learning_rate = options.pretrain_lr,
                            .rate_flag = "--learning_rate",
                            .rows_of_one_length = true,
                            .held_out = held_out_text(options, source.vocabulary())};
  run_training(options, phase, model, source.vocabulary(), source);
}

}  // namespace

void add_pretrain_text(CLI::App& program) {
  auto options = std::make_shared<TrainingRunOptions>(demo_defaults());
  CLI::App* command =
      program.add_subcommand("pretrain-text", "Train a character language model on any text, as minGPT's demo does");
  command->add_option("TEXT", options->corpus, "UTF-8 text; its characters are the vocabulary")->required();
  command->add_option("--writing_params_path", options->writing_params_path, "Where the trained model goes")
      ->type_name("FILE");
  command->add_option("--learning_rate", options->pretrain_lr, "Peak learning rate")->capture_default_str();
  add_integer(*command, "--max_epochs", options->max_epochs,
              "Each takes the characters behind every place of the text");
  add_integer(*command, "--batch_size", options->batch_size, "Examples of a batch");
  add_integer(*command, "--micro_batches", options->micro_batches,
              "Parts in which a batch runs, for less memory; one step for all");
  add_recompute(*command, options->recompute);
  add_eager(*command, options->eager);
  add_schedule_options(*command, *options);
  command->add_option("--decay", options->decay, "Decay rule: assignment (all but biases) or standard (linear weights)")
      ->capture_default_str();
  add_integer(*command, "--block_size", options->block_size, "Characters of an example");
  add_integer(*command, "--layers", options->layers, "Blocks");
  add_integer(*command, "--heads", options->heads, "Attention heads");
  add_integer(*command, "--width", options->width, "Features");
  command->add_option("--dropout", options->dropout, "Embedding, residual and attention dropout")
      ->capture_default_str();
  add_run_options(*command, *options);
  command->add_option("--eval_corpus_path", options->eval_corpus_path, "Held-out text, for --eval_every")->type_name("FILE");
  add_examples(*command,
               "  gradus pretrain-text input.txt --writing_params_path shakespeare.params\n"
               "  gradus pretrain-text input.txt --writing_params_path short.params --batch_size 64 --max_steps 500\n"
               "  gradus pretrain-text input.txt --writing_params_path shakespeare.params --dtype bf16 --force");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    pretrain_text(*options);
  });
}

}  // namespace gradus::tools
