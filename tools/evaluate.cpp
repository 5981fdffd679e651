#include <iostream>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/base/printable.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "tasks/birthplace/evaluation.h"
#include "tasks/birthplace/own_line.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tools/commands.h"
#include "tools/course_flags.h"
#include "tools/model_files.h"
#include "tools/options.h"

namespace gradus::tools {
namespace {

struct EvaluateOptions : CourseFlags {
  CommonOptions common;
  std::string people;
  std::int64_t show_errors = 0;
};

std::string silver_line(const std::vector<std::optional<bool>>& in_own_line) {
  const tasks::SilverScore score = tasks::count_in_own_lines(in_own_line);
  return fmt::format("In the person's own line of the corpus: {} of {} answers, {:.1f} %; lines found for {}\n",
                     score.in_line, score.questions, score.percent(), plural(score.people, "person", "people"));
}

nlohmann::ordered_json silver_json(const std::vector<std::optional<bool>>& in_own_line) {
  const tasks::SilverScore score = tasks::count_in_own_lines(in_own_line);
  return {{"in_own_line", score.in_line}, {"share", score.percent()}, {"people_found", score.people}};
}

void note_missing_finetuning(const models::LoadedModel& loaded, const std::string& path) {
  const auto function = loaded.metadata.find("function");
  if (function == loaded.metadata.end() || !function->second.starts_with("pretrain")) return;
  std::cerr << fmt::format(
      "note: {} was pretrained, not finetuned: it was never shown questions; gradus finetune with --reading_params_path "
      "{} does that\n",
      path, path);
}

[[noreturn]] void refuse_questions(const std::string& path, const std::string& why) {
  fail<DataError>("{}: line 1: {}; --eval_corpus_path takes questions, one a line, with or without a tab and the place",
                  path, why);
}

/// Throws DataError where the first line, without a place, is longer than any question that the model can be asked.
void require_questions(const std::string& path, const tasks::Question& first, const models::GptConfig& model) {
  if (!first.place.empty()) return;
  const auto length = static_cast<std::int64_t>(first.text.size()) + 1;
  if (length > model.longest()) {
    refuse_questions(path, fmt::format("{} characters with the mark behind them, and the model takes {}", length,
                                       model.longest()));
  }
}

void evaluate(const CLI::App& command, const EvaluateOptions& options) {
  const Compute compute = options.common.apply();
  note_unused_flags(command, options);
  if (options.reading_params_path.empty()) fail<UsageError>("--reading_params_path is needed: the model to evaluate");
  if (options.eval_corpus_path.empty()) fail<UsageError>("--eval_corpus_path is needed: the questions");
  if (options.outputs_path.empty()) fail<UsageError>("--outputs_path is needed: the predictions go there");
  if (options.show_errors < 0) fail<UsageError>("--show_errors must not be negative, not {}", options.show_errors);
  io::require_writable(options.outputs_path);
  if (!options.people.empty()) io::require_writable(options.people);
  require_distinct(
      {{"CORPUS", options.corpus},
       {"--reading_params_path", options.reading_params_path},
       {"--eval_corpus_path", options.eval_corpus_path}},
      {{"--outputs_path", options.outputs_path}, {"--people", options.people}, {"--json", options.common.json}});
  if (!options.corpus.empty() && is_same_file(options.eval_corpus_path, options.corpus))
    refuse_questions(options.eval_corpus_path, "this is the corpus itself");
  require_no_model(
      {{"--outputs_path", options.outputs_path}, {"--people", options.people}, {"--json", options.common.json}});
  models::LoadedModel loaded =
      read_model(options.reading_params_path, options.variant, options.common.seed, compute.dtype);
  require_same_latents(options, loaded.model->config());
  loaded.model->to(compute.device);
  std::u32string corpus_text;
  if (!options.corpus.empty()) {
    tasks::Corpus corpus = tasks::load_corpus(options.corpus);
    print_notices(corpus.notices);
    std::cout << corpus.summary() << std::endl;
    data::require_same_vocabulary(loaded.vocabulary, corpus.vocabulary, options.reading_params_path, options.corpus);
    corpus_text = std::move(corpus.text);
  }
  std::cout << "number of parameters: " << loaded.model->parameter_count() << std::endl;
  const auto [questions, has_places, notices] = tasks::load_questions(options.eval_corpus_path, tasks::Places::optional);
  print_notices(notices);
  require_questions(options.eval_corpus_path, questions.front(), loaded.model->config());
  const auto total = static_cast<std::int64_t>(questions.size());
  const std::vector<std::u32string> answers = [&] {
    // Its line is gone before anything else is said.
    train::Progress progress(train::progress_mode_from_string(options.common.progress));
    return tasks::answer_questions(*loaded.model, loaded.vocabulary, questions, options.eval_corpus_path,
                                   [&](std::int64_t done) { progress.count(done, total, "question", "answered"); });
  }();
  tasks::write_predictions(options.outputs_path, answers);
  note_missing_finetuning(loaded, options.reading_params_path);
  std::vector<std::optional<bool>> in_own_line;
  if (!corpus_text.empty()) in_own_line = tasks::answers_in_own_lines(corpus_text, questions, answers);
  if (!options.people.empty()) tasks::write_people(options.people, questions, answers, in_own_line);
  const nlohmann::ordered_json silver = in_own_line.empty() ? nullptr : silver_json(in_own_line);
  if (!has_places) {
    std::cout << "No gold birth places provided; returning (0,0)\n"
              << "Predictions written to " << printable(options.outputs_path) << "; no targets provided\n";
    if (!in_own_line.empty()) std::cout << silver_line(in_own_line);
    write_json(options.common.json, {{"questions", questions.size()}, {"places_given", false}, {"silver", silver}});
    return;
  }
  const tasks::Score score = tasks::score_answers(questions, answers);
  const auto [low, high] = score.interval();
  std::cout << score.course_line() << "\n" << fmt::format("95 % interval: {:.1f} % to {:.1f} %\n", low, high);
  const tasks::Score london = tasks::london_baseline(questions);
  std::cout << fmt::format("London for every question: {} of {}, {:.1f} %\n", london.correct, london.total,
                           london.percent());
  if (!in_own_line.empty()) std::cout << silver_line(in_own_line);
  for (std::size_t i = 0, shown = 0; i < questions.size() && static_cast<std::int64_t>(shown) < options.show_errors; ++i) {
    if (questions[i].place == answers[i]) continue;
    ++shown;
    const auto quote = [](const std::u32string& text) { return printable(data::encode_utf8(text)); };
    std::cout << fmt::format("line {}: {} expected '{}', answered '{}'\n", questions[i].line, quote(questions[i].text),
                             quote(questions[i].place), quote(answers[i]));
  }
  write_json(options.common.json, {{"correct", score.correct},
                                   {"total", score.total},
                                   {"accuracy", score.percent()},
                                   {"interval", {low, high}},
                                   {"london_baseline", {{"correct", london.correct}, {"accuracy", london.percent()}}},
                                   {"silver", silver}});
}

}  // namespace

void add_evaluate(CLI::App& program) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App* command = program.add_subcommand("evaluate", "Answer questions with a finetuned model and score the answers");
  add_course_flags(*command, *options,
                   "Pretraining corpus; checked against the model, and searched for the answers; may be left out",
                   {{"--reading_params_path", "The model, or a checkpoint"},
                    {"--eval_corpus_path", "Questions, with or without places"},
                    {"--outputs_path", "One prediction a line goes here"}});
  command->add_option("--people", options->people, "A table of questions, places, answers and verdicts goes here")
      ->type_name("FILE");
  add_integer(*command, "--show_errors", options->show_errors, "Print the first N wrong answers");
  add_common_options(*command, options->common);
  add_examples(*command,
               "  gradus evaluate vanilla wiki.txt --reading_params_path vanilla.finetune.params \\\n"
               "    --eval_corpus_path birth_dev.tsv --outputs_path vanilla.pretrain.dev.predictions\n"
               "  gradus evaluate vanilla --reading_params_path m --eval_corpus_path birth_dev.tsv --outputs_path out "
               "--show_errors 5\n"
               "  gradus evaluate vanilla wiki.txt --reading_params_path m --eval_corpus_path birth_dev.tsv "
               "--outputs_path out \\\n"
               "    --people people.tsv --json score.json");
  command->callback([options, command] {
    if (options->common.print_config) return print_config(*command);
    evaluate(*command, *options);
  });
}

}  // namespace gradus::tools
