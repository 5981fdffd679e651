// What the assignment documents about the course's own files. They are not part of this repository: the tests run where
// GRADUS_DATA names the folder with wiki.txt, or one that has it in a subfolder `birthplace`.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

#include "framework/data/utf8.h"
#include "framework/optim/schedule.h"
#include "tasks/birthplace/evaluation.h"
#include "tasks/birthplace/own_line.h"
#include "tasks/char_lm/character_text.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tests/program.h"
#include "tests/text.h"

using namespace gradus;
using data::Vocabulary;

namespace {

/// Empty without the files.
std::string course_folder() {
  const char* root = std::getenv("GRADUS_DATA");
  if (root == nullptr) return "";
  for (const std::filesystem::path& folder : {std::filesystem::path(root), std::filesystem::path(root) / "birthplace"}) {
    if (std::filesystem::exists(folder / "wiki.txt")) return std::filesystem::absolute(folder);
  }
  return "";
}

const std::string course = course_folder();
const auto needs_course_files = doctest::skip(course.empty());
const std::filesystem::path shakespeare = std::filesystem::path(course).parent_path() / "shakespeare" / "input.txt";
const auto needs_shakespeare = doctest::skip(course.empty() || !std::filesystem::exists(shakespeare));

std::int64_t counted(const data::Example& example) {
  return static_cast<std::int64_t>(example.target.size()) - std::count(example.target.begin(), example.target.end(), Vocabulary::pad);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

}  // namespace

TEST_CASE("the folder of the course's files") {
  if (course.empty()) std::puts("GRADUS_DATA names no folder with wiki.txt: skipped");
}

TEST_CASE("the corpus is what the assignment says" * needs_course_files) {
  const tasks::Corpus corpus = tasks::load_corpus(course + "/wiki.txt");
  CHECK(corpus.summary() == "data has 418352 characters, 256 unique.");
  CHECK(corpus.documents.size() == 2938);
  CHECK(corpus.documents.back().empty());
  CHECK(corpus.vocabulary.characters().substr(2, 4) == U"\n !%");
  CHECK(corpus.vocabulary.characters().back() == 0x91CE);
  std::vector<std::size_t> lengths;
  for (const auto& document : corpus.documents) lengths.push_back(document.size());
  std::sort(lengths.begin(), lengths.end());
  CHECK(lengths[1] == 38);  // after the empty document
  CHECK(lengths[1 + 2937 / 2] == 131);
  CHECK(lengths.back() == 516);

  const tasks::SpanCorruption source(corpus, tasks::assignment_rules(128, 127), 128, 0);
  CHECK(source.batches_per_epoch() == 23);
  CHECK(source.batch(0, 22).lengths.size() == 122);
  CHECK(source.counted_tokens_per_epoch() == 2938 * 127);
  double targets = 0;
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
    for (std::int64_t document = 0; document < 2937; ++document) targets += static_cast<double>(counted(source.example(epoch, document))) / (5 * 2937);
  }
  CHECK(targets == doctest::Approx(57.9).epsilon(0.01));  // 56.9 characters and two marks, less the first id
}

TEST_CASE("the questions and places are what the assignment says" * needs_course_files) {
  const tasks::Corpus corpus = tasks::load_corpus(course + "/wiki.txt");
  const tasks::Names train(course + "/birth_places_train.tsv", corpus.vocabulary, 127, 256, 0);
  CHECK(train.examples().size() == 2000);
  CHECK(train.batches_per_epoch() == 8);
  CHECK(train.batch(0, 7).lengths.size() == 208);
  CHECK(train.counted_tokens_per_epoch() == 2000 * 127);
  double targets = 0;
  for (const data::Example& example : train.examples()) targets += static_cast<double>(counted(example)) / 2000;
  CHECK(targets == doctest::Approx(9.2).epsilon(0.01));

  const std::vector<tasks::Question> dev = tasks::load_questions(course + "/birth_dev.tsv", tasks::Places::needed).questions;
  CHECK(dev.size() == 500);
  std::size_t longest = 0;
  for (const tasks::Question& question : dev) {
    longest = std::max(longest, question.text.size());
    CHECK_NOTHROW(corpus.vocabulary.encode(question.text, "dev"));
  }
  CHECK(longest == 57);

  const std::vector<tasks::Question> test = tasks::load_questions(course + "/birth_test_inputs.tsv", tasks::Places::optional).questions;
  CHECK(test.size() == 437);
  CHECK(std::all_of(test.begin(), test.end(), [](const tasks::Question& question) { return question.place.empty(); }));
}

TEST_CASE("gradus data prints the documented examples" * needs_course_files) {
  const TemporaryFolder folder;
  const Outcome names = run_program(folder, {"data", "namedata", course + "/wiki.txt", course + "/birth_places_train.tsv"});
  CHECK(names.status == 0);
  CHECK(names.err.empty());
  const std::vector<std::string> lines = lines_of(names.out);
  REQUIRE(lines.size() == 9);
  CHECK(lines[0] == "data has 418352 characters, 256 unique.");
  CHECK(lines[1] == "x: Where was Khatchig Mouradian born?⁇Lebanon⁇" + repeated("□", 84));
  CHECK(lines[2] == "y: " + repeated("□", 33) + "⁇Lebanon⁇" + repeated("□", 85));
  CHECK(lines[3].starts_with("x: Where was Jacob Henry Studer born?⁇Columbus⁇□"));
  CHECK(lines[5].starts_with("x: Where was John Stephen born?⁇Glasgow⁇□"));
  CHECK(lines[7].starts_with("x: Where was Georgina Willis born?⁇Australia⁇□"));

  const Outcome corruption = run_program(folder, {"data", "charcorruption", course + "/wiki.txt"});
  const std::vector<std::string> examples = lines_of(corruption.out);
  REQUIRE(examples.size() == 9);
  CHECK(examples[0] == "data has 418352 characters, 256 unique.");
  for (std::size_t i = 1; i < 9; i += 2) {
    const std::u32string x = data::decode_utf8(examples[i], "x"), y = data::decode_utf8(examples[i + 1], "y");
    CHECK(x.size() == 3 + 127);
    CHECK(x.substr(4) == y.substr(3, 126));
    CHECK(std::count(x.begin(), x.end(), Vocabulary::mask_character) == 2);
  }
  CHECK(run_program(folder, {"data", "charcorruption", course + "/wiki.txt", "--seed", "7"}).out != corruption.out);
  CHECK(run_program(folder, {"data", "charcorruption", course + "/wiki.txt"}).out == corruption.out);
}

TEST_CASE("gradus london_baseline prints the documented score" * needs_course_files) {
  const TemporaryFolder folder;
  const Outcome outcome = run_program(folder, {"london_baseline", course + "/birth_dev.tsv"});
  CHECK(outcome.out == "Correct: 25.0 out of 500.0: 5.0%\n");
  CHECK(outcome.status == 0);
  CHECK(run_program(folder, {"london_baseline", course + "/birth_test_inputs.tsv"}).status == 3);
}

TEST_CASE("the places stand in the people's own lines as often as the assignment's notes say" * needs_course_files) {
  const tasks::Corpus corpus = tasks::load_corpus(course + "/wiki.txt");
  const std::vector<tasks::Question> dev = tasks::load_questions(course + "/birth_dev.tsv", tasks::Places::needed).questions,
                                     test = tasks::load_questions(course + "/birth_test_inputs.tsv", tasks::Places::optional).questions;
  std::vector<std::u32string> places;
  for (const tasks::Question& question : dev) places.push_back(question.place);
  const tasks::SilverScore gold = tasks::count_in_own_lines(tasks::answers_in_own_lines(corpus.text, dev, places));
  CHECK(gold.people == 500);
  CHECK(gold.in_line == 479);
  CHECK(tasks::london_baseline(dev).correct == 25);
  const std::vector<std::u32string> none(test.size());
  CHECK(tasks::count_in_own_lines(tasks::answers_in_own_lines(corpus.text, test, none)).people == 437);
}

TEST_CASE("tiny Shakespeare, its model and the rates are those of the demo's log" * needs_shakespeare) {
  const tasks::CharacterText source(shakespeare, 128, 512, 42);
  CHECK(source.summary() == "data has 1115394 characters, 65 unique.");
  CHECK(source.examples() == 1115266);
  CHECK(source.batches_per_epoch() == 2179);
  CHECK(source.batch(1, 2178).inputs.shape() == Shape{1115266 - 2178 * 512, 128});
  const models::GptConfig config{.vocabulary_size = source.vocabulary().size(), .layers = 8, .heads = 8, .width = 512};
  const double rows_of_special_characters = 2 * 2 * 512;
  CHECK(fmt::format("{:e}", config.parameter_count() - rows_of_special_characters) == "2.535219e+07");
  const std::int64_t tokens = source.counted_tokens_per_epoch();
  const optim::TokenSchedule schedule{.peak = 6e-4, .warmup_tokens = 10240, .final_tokens = 2 * tokens};
  CHECK(fmt::format("{:e}", schedule.rate(tokens)) == "3.000169e-04");
  CHECK(fmt::format("{:e}", schedule.rate(2 * tokens)) == "6.000000e-05");
}
