#include <iostream>

#include "framework/base/error.h"
#include "tasks/birthplace/names.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tools/commands.h"
#include "tools/held_out.h"
#include "tools/model_files.h"
#include "tools/process.h"
#include "tools/training_run.h"

namespace gradus::tools {

void add_finetune(CLI::App& program) {
  auto options = std::make_shared<TrainingRunOptions>();
  CLI::App* command = program.add_subcommand("finetune", "Finetune on questions and places, from scratch or from a pretrained model");
  add_training_options(*command, *options,
                       {{"--reading_params_path", "Model or checkpoint to start from"},
                        {"--writing_params_path", "Where the trained model goes"},
                        {"--finetune_corpus_path", "Questions and places, separated by tabs"},
                        {"--eval_corpus_path", "Held-out questions and places, for --eval_every"},
                        {"--finetune_lr", "Peak learning rate"}});
  show_usual_recipe(*command);
  add_examples(*command,
               "  gradus finetune vanilla wiki.txt --writing_params_path vanilla.model.params \\\n"
               "    --finetune_corpus_path birth_places_train.tsv\n"
               "  gradus finetune vanilla wiki.txt --reading_params_path vanilla.pretrain.params \\\n"
               "    --writing_params_path vanilla.finetune.params --finetune_corpus_path birth_places_train.tsv \\\n"
               "    --eval_every epoch --eval_corpus_path birth_dev.tsv");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    outlive_readers();
    const Compute compute = options->common.apply();
    note_unused_flags(*command, *options);
    check_training_options(*options);
    if (options->finetune_corpus_path.empty())
      fail<UsageError>("--finetune_corpus_path is needed: the questions to finetune on");
    const tasks::Corpus corpus = tasks::load_corpus(options->corpus);
    print_notices(corpus.notices);
    std::cout << corpus.summary() << std::endl;
    std::unique_ptr<models::Gpt> model;
    if (!options->reading_params_path.empty()) {
      models::LoadedModel loaded =
          read_model(options->reading_params_path, options->variant, options->common.seed, compute.dtype);
      data::require_same_vocabulary(loaded.vocabulary, corpus.vocabulary, options->reading_params_path, options->corpus);
      model = std::move(loaded.model);
      require_same_model(*command, *options, model->config());
    } else {
      model = std::make_unique<models::Gpt>(model_config(*options, corpus.vocabulary.size()), options->common.seed,
                                            compute.dtype);
    }
    model->to(compute.device);
    const tasks::Names source(options->finetune_corpus_path, corpus.vocabulary, model->config().block_size - 1,
                              options->batch_size, options->common.seed, options->shuffle);
    print_notices(source.notices());
    // The assignment counts the schedule's tokens in documents of the pretraining corpus here too.
    const TrainingPhase phase{.function = "finetune",
                              .learning_rate = options->finetune_lr,
                              .epoch_tokens = static_cast<std::int64_t>(corpus.documents.size()) * options->block_size,
                              .held_out = held_out_questions(*options, *model, corpus.vocabulary)};
    run_training(*options, phase, *model, corpus.vocabulary, source);
  });
}

}  // namespace gradus::tools
