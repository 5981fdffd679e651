#include <iostream>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/base/printable.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tools/commands.h"
#include "tools/held_out.h"
#include "tools/process.h"
#include "tools/training_run.h"

namespace gradus::tools {
namespace {

/// Throws UsageError for what contradicts itself, before anything is read.
tasks::CorruptionRules corruption_rules(const TrainingRunOptions& options) {
  const std::int64_t length = options.block_size - (options.full_length ? 0 : 1);
  const std::int64_t longest = model_config(options, 256).longest();
  if (length > longest) {
    fail<UsageError>("--full_length: examples of {}, and a {} of block_size {} takes {}", plural(length, "character"),
                     options.variant, options.block_size, longest);
  }
  tasks::CorruptionRules rules = tasks::assignment_rules(options.block_size, length);
  rules.names = options.names;
  rules.preferred = options.names_after_share;
  rules.keyword = characters_of("--names_after", options.names_after);
  for (const std::string name : {"--names_after", "--names_after_share"}) {
    if (options.names == 0 && option_origins()[name] == "command line") fail<UsageError>("{} goes with --names", name);
  }
  rules.validate();
  return rules;
}

}  // namespace

void add_pretrain(CLI::App& program) {
  auto options = std::make_shared<TrainingRunOptions>();
  CLI::App* command = program.add_subcommand(
      "pretrain", "Pretrain on a corpus by span corruption: what is cut out of a document is to be said at its end");
  add_training_options(*command, *options,
                       {{"--writing_params_path", "Where the trained model goes"},
                        {"--eval_corpus_path", "Held-out documents, for --eval_every"},
                        {"--pretrain_lr", "Peak learning rate"}});
  command->add_flag("--full_length", options->full_length,
                    "Examples of block_size characters (edition 2024), not of one less");
  command
      ->add_option("--names", options->names,
                   "Share of examples that ask for a name in a document, given its title and a few words")
      ->capture_default_str();
  command->add_option("--names_after", options->names_after, "Prefer the first name behind this word")
      ->type_name("WORD");
  command
      ->add_option("--names_after_share", options->names_after_share,
                   "Share of the name examples that take it, where there is one")
      ->capture_default_str();
  show_usual_recipe(*command);
  add_examples(
      *command,
      "  gradus pretrain vanilla wiki.txt --writing_params_path vanilla.pretrain.params\n"
      "  gradus pretrain vanilla wiki.txt --writing_params_path p --max_epochs 20 --metrics p.jsonl\n"
      "  gradus pretrain vanilla wiki.txt --writing_params_path p --max_epochs 20 --resume\n"
      "  gradus pretrain vanilla wiki.txt --writing_params_path e --eval_every epoch --eval_corpus_path more.txt\n"
      "  gradus pretrain vanilla wiki.txt --writing_params_path b --max_epochs 20 --dtype bf16 --padded\n"
      "  gradus pretrain rope wiki.txt --writing_params_path r --max_epochs 1 --names_after in --names_after_share "
      "0.5\n"
      "  gradus pretrain synthesizer wiki.txt --writing_params_path s --max_epochs 1 --edition 2021");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    outlive_readers();
    const Compute compute = options->common.apply();
    note_unused_flags(*command, *options);
    check_training_options(*options);
    const tasks::CorruptionRules rules = corruption_rules(*options);
    const tasks::Corpus corpus = tasks::load_corpus(options->corpus);
    print_notices(corpus.notices);
    std::cout << corpus.summary() << std::endl;
    const tasks::SpanCorruption source(corpus, rules, options->batch_size, options->common.seed, options->shuffle);
    if (const std::string warning = source.unread_text(); !warning.empty())
      std::cerr << "warning: " << printable(warning) << "\n";
    models::Gpt model(model_config(*options, corpus.vocabulary.size()), options->common.seed, compute.dtype);
    model.to(compute.device);
    const TrainingPhase phase{.function = "pretrain",
                              .learning_rate = options->pretrain_lr,
                              .epoch_tokens = static_cast<std::int64_t>(corpus.documents.size()) * options->block_size,
                              .note = rules.names > 0 ? "; " + source.names_summary() : "",
                              .held_out = held_out_documents(*options, corpus.vocabulary, rules)};
    run_training(*options, phase, model, corpus.vocabulary, source);
  });
}

}  // namespace gradus::tools
