#include <iostream>

#include "framework/base/error.h"
#include "framework/data/utf8.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tools/commands.h"
#include "tools/training_run.h"

namespace gradus::tools {

void add_pretrain(CLI::App& program) {
  auto options = std::make_shared<TrainingRunOptions>();
  CLI::App* command = program.add_subcommand("pretrain", "Pretrain on a corpus by span corruption");
  add_training_options(*command, *options);
  command
      ->add_option("--names", options->names,
                   "Share of examples that ask for a name in a document, given its title and a few words")
      ->capture_default_str();
  command->add_option("--names_after", options->names_after, "Half of them ask for the first name behind this word")
      ->type_name("WORD");
  add_examples(
      *command,
      "  gradus pretrain vanilla wiki.txt --writing_params_path vanilla.pretrain.params\n"
      "  gradus pretrain vanilla wiki.txt --writing_params_path p --max_epochs 20 --metrics p.jsonl\n"
      "  gradus pretrain vanilla wiki.txt --writing_params_path p --max_epochs 20 --resume\n"
      "  gradus pretrain vanilla wiki.txt --writing_params_path p --max_epochs 20 --dtype bf16 --padded\n"
      "  gradus pretrain rope wiki.txt --writing_params_path p --max_epochs 20 --names 0.9 --names_after born");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    const Compute compute = options->common.apply();
    check_training_options(*options);
    if (!options->reading_params_path.empty()) fail<UsageError>("--reading_params_path: pretraining starts from new weights");
    const std::int64_t length = options->edition >= 2024 ? options->block_size : options->block_size - 1;
    if (const models::GptConfig config = model_config(*options, 256); length > config.longest()) {
      fail<UsageError>("--edition {} has examples of {} characters, a {} of block_size {} takes {}", options->edition,
                       length, options->variant, options->block_size, config.longest());
    }
    const tasks::Corpus corpus = tasks::load_corpus(options->corpus);
    std::cout << corpus.summary() << std::endl;
    tasks::CorruptionRules rules = tasks::assignment_rules(options->block_size, length);
    rules.names = options->names;
    rules.keyword = data::decode_utf8(options->names_after, "--names_after");
    if (options->names == 0 && !options->names_after.empty()) fail<UsageError>("--names_after goes with --names");
    const std::int64_t batch_size = options->batch_size > 0 ? options->batch_size : 128;
    const tasks::SpanCorruption source(corpus, rules, batch_size, options->common.seed, options->shuffle);
    models::Gpt model(model_config(*options, corpus.vocabulary.size()), options->common.seed, compute.dtype);
    model.to(compute.device);
    // The schedule was made for 200 of the 650 epochs until the edition of 2024 stretched it over all.
    const std::int64_t falling_epochs = options->edition >= 2024 ? 650 : 200;
    const Recipe recipe{
        .function = "pretrain",
        .learning_rate = options->pretrain_lr,
        .epochs = options->max_epochs > 0 ? options->max_epochs : 650,
        .batch_size = batch_size,
        .final_tokens = falling_epochs * static_cast<std::int64_t>(corpus.documents.size()) * options->block_size};
    run_training(*options, recipe, model, corpus.vocabulary, source);
  });
}

}  // namespace gradus::tools
