#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>

#include <unistd.h>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/train/trainer.h"
#include "tasks/birthplace/evaluation.h"
#include "tasks/built_in_world/world.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tools/commands.h"
#include "tools/training_run.h"

namespace gradus::tools {
namespace {

constexpr std::int64_t block_size = 96, batch_size = 8;

struct DemoOptions {
  CommonOptions common;
  tasks::WorldSettings world;
  std::string keep;
  std::int64_t pretrain_epochs = 120;
};

/// A new one, of this user alone.
std::filesystem::path temporary_folder() {
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::temp_directory_path(error);
  const char* chosen = std::getenv("TMPDIR");
  if (error) fail<UsageError>("TMPDIR: {} is no folder for temporary files", chosen ? chosen : "/tmp");
  std::string pattern = parent / "gradus-demo-XXXXXX";
  if (!::mkdtemp(pattern.data())) fail<OutputError>("{}: no folder can be made there: {}", parent.string(), std::strerror(errno));
  return pattern;
}

/// A folder that goes away with the scope, unless the user named one to keep.
class WorldFolder {
 public:
  explicit WorldFolder(const std::string& keep)
      : path_(keep.empty() ? temporary_folder() : std::filesystem::path(keep)), kept_(!keep.empty()) {}
  ~WorldFolder() {
    std::error_code ignored;
    if (!kept_) std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return path_ / name; }
  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
  bool kept_;
};

struct Phase {
  std::string name;
  std::int64_t epochs;
  double learning_rate;
};

/// The rate rises over a twentieth of the run and falls to 0 once; no weight decay: the job is to remember.
void train_phase(const Phase& phase, const DemoOptions& options, models::Gpt& model, const data::BatchSource& source) {
  std::cerr << phase.name << "\n";
  optim::AdamW optimizer(model.named_parameters(), {.weight_decay = 0});
  train::TrainerOptions trainer;
  trainer.max_epochs = phase.epochs;
  const std::int64_t tokens = source.counted_tokens_per_epoch() * phase.epochs;
  trainer.schedule = {.peak = phase.learning_rate, .warmup_tokens = tokens / 20, .final_tokens = tokens, .floor = 0, .hold_at_end = true};
  trainer.progress = train::progress_mode_from_string(options.common.progress);
  const train::TrainingResult result =
      train::train(model, model.generator(), optimizer, source, [&](const data::Batch& batch) { return prediction_loss(model, batch); }, trainer);
  if (result.signal != 0) throw ExitWith{128 + result.signal};
  std::cerr << fmt::format("  {}, last loss {:.3f}, {:.0f} s\n", plural(result.steps, "step"), result.last_loss, result.seconds);
}

tasks::Score majority_baseline(const std::string& train_path, const std::vector<tasks::Question>& questions) {
  std::map<std::u32string, int> counts;
  for (const tasks::Question& question : tasks::load_questions(train_path, tasks::Places::needed).questions) ++counts[question.place];
  std::u32string most;
  for (const auto& [place, count] : counts) {
    if (most.empty() || count > counts[most]) most = place;
  }
  return tasks::score_answers(questions, std::vector<std::u32string>(questions.size(), most));
}

std::string table_row(const std::string& name, const tasks::Score& score) {
  const auto [low, high] = score.interval();
  return fmt::format("{:28} {:4} of {:4}   {:5.1f} %   {:5.1f} % to {:5.1f} %\n", name, score.correct, score.total, score.percent(), low, high);
}

void demo(const DemoOptions& options) {
  const Compute compute = options.common.apply();
  const auto start = std::chrono::steady_clock::now();
  const WorldFolder folder(options.keep);
  tasks::write_world(tasks::make_world(options.world), folder.path());
  const tasks::Corpus corpus = tasks::load_corpus(folder.file("corpus.txt"));
  std::cerr << fmt::format("an invented world: {}, {}, {}; {} held out\n", plural(options.world.train_people + options.world.held_out_people, "person", "people"),
                           plural(corpus.documents.size(), "document"), plural(options.world.places, "place"),
                           plural(options.world.held_out_people, "person is", "people are"));
  const std::vector<tasks::Question> questions =
      tasks::load_questions(folder.file("held_out.tsv"), tasks::Places::needed).questions;
  const models::GptConfig config{.vocabulary_size = corpus.vocabulary.size(), .block_size = block_size, .layers = 2, .heads = 4, .width = 128,
                                 .dropout = {0, 0, 0}};
  const tasks::CorruptionRules rules{.length = block_size - 1, .shortest_truncation = 50, .longest_truncation = 80, .shortest_mask = 0.02, .longest_mask = 0.15};
  const tasks::SpanCorruption pretraining(corpus, rules, batch_size, options.common.seed, true);
  const tasks::Names finetuning(folder.file("train.tsv"), corpus.vocabulary, block_size - 1, batch_size, options.common.seed, true);
  const auto evaluate = [&](models::Gpt& model) {
    return tasks::score_answers(questions, tasks::answer_questions(model, corpus.vocabulary, questions, "held_out.tsv"));
  };

  const tasks::Score majority = majority_baseline(folder.file("train.tsv"), questions);
  models::Gpt untaught(config, options.common.seed, compute.dtype);
  untaught.to(compute.device);
  train_phase({"1. finetuning without pretraining", 20, 1e-3}, options, untaught, finetuning);
  const tasks::Score without = evaluate(untaught);
  models::Gpt taught(config, options.common.seed, compute.dtype);
  taught.to(compute.device);
  train_phase({"2. pretraining by span corruption", options.pretrain_epochs, 2e-3}, options, taught, pretraining);
  train_phase({"3. finetuning the pretrained model", 15, 1e-4}, options, taught, finetuning);
  const tasks::Score with = evaluate(taught);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  std::cout << "Where were the held-out people born?\n"
            << fmt::format("{:28} {:>12}   {:>7}   {}\n", "", "correct", "", "95 % interval") << table_row("most frequent place", majority)
            << table_row("without pretraining", without) << table_row("with pretraining", with) << fmt::format("{:.0f} seconds\n", seconds);
  write_json(options.common.json, {{"majority_accuracy", majority.percent()}, {"no_pretraining_accuracy", without.percent()},
                                   {"pretraining_accuracy", with.percent()}, {"held_out", with.total}, {"seconds", seconds}});
}

}  // namespace

void add_demo(CLI::App& program) {
  auto options = std::make_shared<DemoOptions>();
  CLI::App* command = program.add_subcommand("demo", "The whole job on a small invented world: pretrain, finetune, evaluate, in minutes");
  command->add_option("--keep", options->keep, "Keep the world's files in FOLDER")->type_name("FOLDER");
  add_seed(*command, options->world.seed, "Another world", "--world_seed");
  add_integer(*command, "--train_people", options->world.train_people, "People in the finetuning questions");
  add_integer(*command, "--held_out_people", options->world.held_out_people, "People whose birthplace stands in the corpus only");
  add_integer(*command, "--pretrain_epochs", options->pretrain_epochs, "Passes over the corpus");
  add_common_options(*command, options->common);
  add_examples(*command, "  gradus demo\n  gradus demo --json demo.json --progress plain\n  gradus demo --keep my-world --world_seed 7");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    if (options->pretrain_epochs < 1) fail<UsageError>("--pretrain_epochs must be at least 1, not {}", options->pretrain_epochs);
    demo(*options);
  });
}

}  // namespace gradus::tools
