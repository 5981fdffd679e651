#include "tools/held_out.h"

#include <algorithm>
#include <cmath>

#include "framework/base/error.h"
#include "tasks/birthplace/evaluation.h"
#include "tasks/birthplace/names.h"
#include "tasks/char_lm/character_text.h"
#include "tools/token_amounts.h"

namespace gradus::tools {
namespace {

/// What is held out is the same for runs of all seeds.
constexpr std::uint64_t seed = 0;

std::int64_t rows_at_once(const TrainingRunOptions& options) {
  return std::max<std::int64_t>(1, options.batch_size / options.micro_batches);
}

struct Documents {
  tasks::Corpus corpus;
  tasks::SpanCorruption source;

  Documents(const std::string& path, const data::Vocabulary& vocabulary, const tasks::CorruptionRules& rules,
            std::int64_t rows)
      : corpus(tasks::load_corpus(path, vocabulary)), source(corpus, rules, rows, seed) {}
};

}  // namespace

std::int64_t steps_between_evaluations(const TrainingRunOptions& options, std::int64_t batches_per_epoch) {
  if (options.eval_every.empty()) return 0;
  const auto steps = parse_steps(options.eval_every, batches_per_epoch);
  if (!steps || *steps < 0)
    fail<UsageError>("--eval_every '{}': expected a number of steps (200, 1k) or epochs (epoch, 5 epochs)", options.eval_every);
  return *steps;
}

void check_evaluation_options(const TrainingRunOptions& options) {
  if (steps_between_evaluations(options, 1) > 0 && options.eval_corpus_path.empty())
    fail<UsageError>("--eval_every {}: add --eval_corpus_path FILE, what is to be evaluated", options.eval_every);
  if (options.eval_every.empty() && !options.eval_corpus_path.empty())
    print_notices({"--eval_corpus_path means nothing without --eval_every: ignored"});
}

HeldOut held_out_documents(const TrainingRunOptions& options, const data::Vocabulary& vocabulary,
                           const tasks::CorruptionRules& rules) {
  if (steps_between_evaluations(options, 1) == 0) return {};
  const auto documents = std::make_shared<const Documents>(options.eval_corpus_path, vocabulary, rules, rows_at_once(options));
  print_notices(documents->corpus.notices);
  return {.source = {documents, &documents->source}};
}

HeldOut held_out_questions(const TrainingRunOptions& options, models::Gpt& model, const data::Vocabulary& vocabulary) {
  if (steps_between_evaluations(options, 1) == 0) return {};
  const std::string path = options.eval_corpus_path;
  const tasks::QuestionFile file = tasks::load_questions(path, tasks::Places::needed);
  print_notices(file.notices);
  const auto source = std::make_shared<const tasks::Names>(file, path, vocabulary, model.config().block_size - 1,
                                                           rows_at_once(options), seed);
  const auto score = [&model, &vocabulary, path, questions = file.questions] {
    const auto answers = tasks::answer_questions(model, vocabulary, questions, path,
                                                 [](std::int64_t) { train::stop_evaluation_on_signal(); });
    const tasks::Score found = tasks::score_answers(questions, answers);
    return std::pair(found.correct, found.total);
  };
  return {.source = source, .score = score};
}

HeldOut held_out_text(const TrainingRunOptions& options, const data::Vocabulary& vocabulary) {
  if (steps_between_evaluations(options, 1) == 0) return {};
  const auto blocks = std::make_shared<const tasks::TextBlocks>(options.eval_corpus_path, vocabulary, options.block_size,
                                                                rows_at_once(options));
  print_notices(blocks->notices());
  return {.source = blocks};
}

}  // namespace gradus::tools
