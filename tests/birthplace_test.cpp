// Questions and places, greedy answers and their score.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "framework/base/error.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "tasks/birthplace/evaluation.h"
#include "tasks/birthplace/own_line.h"
#include "tests/messages.h"
#include "tests/random_model.h"
#include "tests/temporary_folder.h"
#include "tests/text.h"

using namespace gradus;
using data::Vocabulary;
using Ids = std::vector<std::int64_t>;

namespace {

/// A model whose next character is a function of the last one alone: `next` maps each id to its successor.
std::unique_ptr<models::Gpt> chain_model(const Vocabulary& vocabulary, const std::map<std::int64_t, std::int64_t>& next, std::int64_t block_size = 48) {
  const std::int64_t count = vocabulary.size();
  auto model = std::make_unique<models::Gpt>(
      models::GptConfig{.vocabulary_size = count, .block_size = block_size, .layers = 1, .heads = 1, .width = count, .dropout = {}}, 0);
  for (const auto& [name, tensor] : model->named_parameters()) {
    auto* values = tensor.mutable_data<float>();
    const bool is_gain = name == "ln_f.weight";
    std::fill(values, values + tensor.numel(), is_gain ? 1.0f : 0.0f);
    if (name == "tok_emb.weight") {
      for (std::int64_t id = 0; id < count; ++id) values[id * count + id] = 1;
    }
    if (name == "head.weight") {
      for (const auto& [from, to] : next) values[to * count + from] = 1;
    }
  }
  return model;
}

/// The chain that says `text` after each character's predecessor; each character may occur once.
std::map<std::int64_t, std::int64_t> chain(const Vocabulary& vocabulary, const std::u32string& text) {
  std::map<std::int64_t, std::int64_t> next;
  const Ids ids = [&] {
    Ids all;
    for (char32_t c : text) all.push_back(static_cast<std::int64_t>(vocabulary.characters().find(c)));
    return all;
  }();
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) next[ids[i]] = ids[i + 1];
  return next;
}

}  // namespace

TEST_CASE("a name example predicts the first mark, the place and the closing mark") {
  const std::u32string question = U"Where was Khatchig Mouradian born?", place = U"Lebanon";
  const Vocabulary vocabulary = Vocabulary::from_text(question + place, "test");
  const data::Example example = tasks::name_example({question, place, 1}, vocabulary, 127, "names");
  CHECK(text_of(vocabulary, example.input) == "Where was Khatchig Mouradian born?⁇Lebanon⁇" + repeated("□", 84));
  CHECK(text_of(vocabulary, example.target) == repeated("□", 33) + "⁇Lebanon⁇" + repeated("□", 85));
  CHECK(example.input.size() == 127);
  CHECK(example.target.size() == 127);
  // 34 + 1 + 7 + 1 characters just fit where x and y have 42.
  CHECK(text_of(vocabulary, tasks::name_example({question, place, 1}, vocabulary, 42, "names").target) == repeated("□", 33) + "⁇Lebanon⁇");
  CHECK(message_of<DataError>([&] { tasks::name_example({question, place, 8}, vocabulary, 41, "names"); }) ==
        "names: line 8: question and place need 43 characters, 42 are there");
  CHECK(message_of<DataError>([&] { tasks::name_example({U"", place, 3}, vocabulary, 127, "names"); }) == "names: line 3: the question is empty");
  CHECK(message_of<DataError>([&] { tasks::name_example({U"Where ß", place, 4}, vocabulary, 127, "names"); }) ==
        "names: line 4: the character 'ß' (U+00DF) is not in the vocabulary");
}

TEST_CASE("question files") {
  const TemporaryFolder files;
  const std::string path = files.write("q.tsv", "Where was Cornélie born?\tParis\r\nWho?\t Oslo \r");
  const tasks::QuestionFile file = tasks::load_questions(path, tasks::Places::needed);
  REQUIRE(file.questions.size() == 2);
  CHECK(file.has_places);
  CHECK(file.questions[0].text == U"Where was Cornélie born?");
  CHECK(file.questions[0].place == U"Paris");
  CHECK(file.questions[1].place == U"Oslo");
  CHECK(file.questions[1].line == 2);
  CHECK(file.notices == std::vector<std::string>{path + ": 1 line end CRLF and 1 line end CR read as LF",
                                                 path + ": spaces around question or place are left out in line 2"});

  const std::string without = files.write("inputs.tsv", "Who?\nWhere?");
  const tasks::QuestionFile inputs = tasks::load_questions(without, tasks::Places::optional);
  REQUIRE(inputs.questions.size() == 2);
  CHECK_FALSE(inputs.has_places);
  CHECK(inputs.questions[1].place.empty());
  CHECK(inputs.notices.empty());
}

TEST_CASE("names come in file order with a short last batch") {
  const TemporaryFolder files;
  const std::string path = files.write("q.tsv", "Who is A?\tRome\nWho is B?\tOslo\nWho is C?\tBern\n");
  const Vocabulary vocabulary = Vocabulary::from_text(U"Who is A?B?C?RomeOsloBern", "test");
  const tasks::Names source(path, vocabulary, 31, 2, 0);
  CHECK(source.batches_per_epoch() == 2);
  CHECK(source.counted_tokens_per_epoch() == 3 * 31);
  const data::Batch last = source.batch(4, 1);
  CHECK(last.inputs.shape() == Shape{1, 15});
  CHECK(last.counted_tokens == 31);
  CHECK(text_of(vocabulary, last.inputs.to_vector<std::int64_t>()) == "Who is C?⁇Bern⁇");
  CHECK(text_of(vocabulary, last.targets.to_vector<std::int64_t>()) == "□□□□□□□□⁇Bern⁇□");
}

TEST_CASE("questions answered together are answered as one at a time") {
  constexpr std::int64_t vocabulary_size = 30, block_size = 24, count = 32;
  const auto model = random_model(vocabulary_size, block_size);
  Generator generator(2);
  std::vector<Ids> prompts;
  // More of one length than go through the model at once, and prompts longer than the model's block.
  for (std::int64_t i = 0; i < 100; ++i) {
    const std::int64_t length = i < 70 ? 9 : 1 + (i * 7) % 29;
    prompts.push_back(random_integers({length}, generator, 2, vocabulary_size - 1).to_vector<std::int64_t>());
  }
  REQUIRE(model->is_training());
  std::int64_t reported = 0;
  const std::vector<Ids> together = tasks::decode_greedily(*model, prompts, count, [&](std::int64_t done) { reported = done; });
  CHECK(model->is_training());
  CHECK(reported == 100);
  std::set<Ids> continuations;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    CHECK(together[i].size() == prompts[i].size() + count);
    CHECK(std::equal(prompts[i].begin(), prompts[i].end(), together[i].begin()));
    CHECK(tasks::decode_greedily(*model, {prompts[i]}, count)[0] == together[i]);
    continuations.insert({together[i].end() - count, together[i].end()});
  }
  CHECK(continuations.size() > 20);

  // Where sequences fit the model, earlier characters are not computed again: the answers are the same.
  const auto roomy = random_model(vocabulary_size, 64);
  const std::vector<Ids> cached = tasks::decode_greedily(*roomy, prompts, count);
  roomy->set_training(false);
  for (std::size_t i = 0; i < prompts.size(); i += 7) {
    Ids sequence = prompts[i];
    for (int step = 0; step < count; ++step) {
      const auto length = static_cast<std::int64_t>(sequence.size());
      const Tensor logits = roomy->forward(from_values({1, length}, sequence));
      sequence.push_back(argmax(slice(logits, 1, length - 1, length)).to_vector<std::int64_t>()[0]);
    }
    CHECK(cached[i] == sequence);
  }
  CHECK(message_of<DataError>([&] { tasks::decode_greedily(*model, {{}}, count); }) == "an empty prompt cannot be continued");
}

TEST_CASE("the answer stands between the marks, or is all 32 characters") {
  const Vocabulary vocabulary = Vocabulary::from_text(U"Who? Rome\n", "test");
  const auto answer = [&](const std::u32string& said) {
    const auto model = chain_model(vocabulary, chain(vocabulary, said));
    return tasks::answer_questions(*model, vocabulary, {{U"Who?", U"Rome", 1}, {U"Who", U"", 2}}, "q");
  };
  const std::vector<std::u32string> closed = answer(U"⁇Rome⁇");
  CHECK(closed == std::vector<std::u32string>{U"Rome", U"Rome"});
  const std::vector<std::u32string> open = answer(U"⁇Rm\nR");
  CHECK(open[0].size() == 32);
  CHECK(open[0].starts_with(U"Rm\nRm\nR"));
  CHECK(answer(U"⁇Re□⁇")[0] == U"Re□");
  CHECK(answer(U"⁇⁇")[0].empty());

  const auto model = chain_model(vocabulary, {});
  CHECK(message_of<DataError>([&] { tasks::answer_questions(*model, vocabulary, {{U"Who?", U"", 1}, {U"Whé?", U"", 2}}, "q.tsv"); }) ==
        "q.tsv: line 2: the character 'é' (U+00E9) is not in the vocabulary");
}

TEST_CASE("predictions are one a line even where the model says a newline") {
  const TemporaryFolder files;
  tasks::write_predictions(files / "out", {U"Rome", U"", U"a\nb□", U"São"});
  CHECK(io::read_file(files / "out") == "Rome\n\na\u2424b□\nSão\n");
}

TEST_CASE("the score is printed as Python prints it") {
  const auto line = [](std::int64_t correct, std::int64_t total) { return tasks::Score{correct, total}.course_line(); };
  CHECK(line(25, 500) == "Correct: 25.0 out of 500.0: 5.0%");
  CHECK(line(58, 500) == "Correct: 58.0 out of 500.0: 11.600000000000001%");
  CHECK(line(0, 500) == "Correct: 0.0 out of 500.0: 0.0%");
  CHECK(line(1, 3) == "Correct: 1.0 out of 3.0: 33.33333333333333%");
  CHECK(line(500, 500) == "Correct: 500.0 out of 500.0: 100.0%");
  const auto [low, high] = tasks::Score{25, 500}.interval();
  CHECK(low == doctest::Approx(3.4093745243849436));
  CHECK(high == doctest::Approx(7.276816117154759));
  CHECK(tasks::Score{0, 10}.interval().first == 0);

  const std::vector<tasks::Question> questions = {{U"a", U"Rome", 1}, {U"b", U"Oslo", 2}, {U"c", U"", 3}};
  const tasks::Score score = tasks::score_answers(questions, {U"Rome", U"oslo", U""});
  CHECK(score.correct == 1);
  CHECK(score.total == 3);
  CHECK_THROWS_AS(tasks::score_answers(questions, {U"Rome"}), ContractError);
}

TEST_CASE("an answer is looked for in the lines that begin with the person's name and a full stop") {
  CHECK(tasks::person_of({U"Where was Ada B. C. Noé born?", U"", 1}) == U"Ada B. C. Noé");
  CHECK(tasks::person_of({U"Where was Ada?", U"", 1}).empty());
  CHECK(tasks::person_of({U"Who was Ada born?", U"", 1}).empty());
  CHECK(tasks::person_of({U"Where was  born?", U"", 1}).empty());
  CHECK(tasks::person_of({U"Where was born?", U"", 1}).empty());

  const std::u32string corpus =
      U"Ada Noé. Ada Noé (born in Rome) died in Oslo .\n"
      U"Ada Noé Bell. Born in Bern .\n"
      U"Bob. Bob met Ada Noé. in Paris\n\n"
      U"Bob. Another Bob, of Lima";
  const auto in_own_line = [&](const std::u32string& person, const std::u32string& answer) {
    return tasks::answers_in_own_lines(corpus, {{U"Where was " + person + U" born?", U"", 1}}, {answer}).at(0);
  };
  CHECK(in_own_line(U"Ada Noé", U"Rome") == true);
  CHECK(in_own_line(U"Ada Noé", U"Oslo") == true);
  CHECK(in_own_line(U"Ada Noé", U"rome") == false);
  CHECK(in_own_line(U"Ada Noé", U"Bern") == false);  // another's line
  CHECK(in_own_line(U"Ada Noé", U"Paris") == false);
  CHECK(in_own_line(U"Ada Noé", U"") == false);
  CHECK(in_own_line(U"Bob", U"Paris") == true);  // either of two lines
  CHECK(in_own_line(U"Bob", U"Lima") == true);
  CHECK(in_own_line(U"Cy", U"Rome") == std::nullopt);
  CHECK(tasks::answers_in_own_lines(corpus, {{U"Who?", U"", 1}}, {U"Rome"}).at(0) == std::nullopt);

  const tasks::SilverScore score = tasks::count_in_own_lines({true, false, std::nullopt, true, std::nullopt});
  CHECK(score.questions == 5);
  CHECK(score.people == 3);
  CHECK(score.in_line == 2);
  CHECK(score.percent() == doctest::Approx(40));
}

TEST_CASE("London for every question, and the table of people") {
  const TemporaryFolder files;
  const std::vector<tasks::Question> questions = {
      {U"Where was A born?", U"London", 1}, {U"Where was B born?", U"Oslo", 2}, {U"Where was Noé born?", U"", 4}};
  CHECK(tasks::london_baseline(questions).correct == 1);
  CHECK(tasks::london_baseline(questions).total == 3);
  tasks::write_people(files / "people", questions, {U"London", U"a\tb\nc", U"Rome"}, {std::nullopt, false, true});
  CHECK(io::read_file(files / "people") ==
        "line\tquestion\tplace\tanswer\tverdict\tin_own_line\n"
        "1\tWhere was A born?\tLondon\tLondon\tright\t-\n"
        "2\tWhere was B born?\tOslo\ta\u2409b\u2424c\twrong\tno\n"
        "4\tWhere was Noé born?\t\tRome\t-\tyes\n");
  tasks::write_people(files / "people", {questions[1]}, {U"Oslo"}, {});
  CHECK(io::read_file(files / "people").ends_with("\tOslo\tOslo\tright\t-\n"));
}
