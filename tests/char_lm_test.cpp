// The character language model: its data in a shuffled order that is never made, and texts continued.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "framework/base/error.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "framework/random/permutation.h"
#include "framework/tensor/creation.h"
#include "models/gpt/continuation.h"
#include "tasks/char_lm/character_text.h"
#include "tasks/char_lm/sampling.h"
#include "tests/messages.h"
#include "tests/random_model.h"
#include "tests/temporary_folder.h"

using namespace gradus;
using data::Vocabulary;
using Ids = std::vector<std::int64_t>;

namespace {

Ids order_of(std::int64_t size, std::uint64_t seed, std::uint64_t stream) {
  const Permutation permutation(size, seed, stream);
  Ids order;
  for (std::int64_t index = 0; index < size; ++index) order.push_back(permutation(index));
  return order;
}

}  // namespace

TEST_CASE("a permutation takes every item once, whatever the size") {
  for (const std::int64_t size : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 5000}) {
    CAPTURE(size);
    Ids order = order_of(size, 3, 8);
    CHECK(order == order_of(size, 3, 8));
    if (size > 100) {
      CHECK(order != order_of(size, 4, 8));
      CHECK(order != order_of(size, 3, 9));
    }
    std::sort(order.begin(), order.end());
    for (std::int64_t index = 0; index < size; ++index) REQUIRE(order[index] == index);
  }
  const Permutation largest(std::int64_t{1} << 62, 1, 1);
  CHECK(largest(0) != largest(1));
  CHECK(has(message_of<ContractError>([] { Permutation(0, 1, 1); }), "a permutation needs 1 to 2^62 items, not 0"));
  CHECK(has(message_of<ContractError>([] { Permutation(5, 1, 1)(5); }), "item 5 of a permutation of 5"));
  CHECK(has(message_of<ContractError>([] { Permutation(5, 1, 1)(-1); }), "of a permutation of 5"));
}

TEST_CASE("the orders of a few items come about equally often") {
  std::map<Ids, int> orders;
  constexpr int draws = 24000;
  for (int stream = 0; stream < draws; ++stream) ++orders[order_of(4, 1, stream)];
  CHECK(orders.size() == 24);
  // 1000 times each, standard deviation 31.
  for (const auto& [order, count] : orders) CHECK_MESSAGE(std::abs(count - 1000) < 150, count);
}

TEST_CASE("an epoch of a text has the characters behind every place once, each with the one after it") {
  const TemporaryFolder folder;
  const tasks::CharacterText source(folder.write("text", "to bé or not to be\n"), 5, 4, 7);
  CHECK(source.summary() == "data has 19 characters, 9 unique.");
  CHECK(data::encode_utf8(source.vocabulary().characters()) == "□⁇\n benorté");
  CHECK(source.examples() == 14);
  CHECK(source.batches_per_epoch() == 4);
  CHECK(source.counted_tokens_per_epoch() == 14 * 5);
  const std::u32string text = U"to bé or not to be\n";
  std::set<std::vector<std::u32string>> epochs;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::u32string> seen;
    for (std::int64_t index = 0; index < 4; ++index) {
      const data::Batch batch = source.batch(epoch, index);
      const std::int64_t rows = index == 3 ? 2 : 4;
      CHECK(batch.inputs.shape() == Shape{rows, 5});
      CHECK(batch.targets.shape() == Shape{rows, 5});
      CHECK(batch.lengths.empty());
      CHECK(batch.predicted == rows * 5);
      CHECK(batch.counted_tokens == rows * 5);
      const Ids inputs = batch.inputs.to_vector<std::int64_t>(), targets = batch.targets.to_vector<std::int64_t>();
      for (std::int64_t row = 0; row < rows; ++row) {
        const Ids input(inputs.begin() + 5 * row, inputs.begin() + 5 * row + 5);
        const Ids target(targets.begin() + 5 * row, targets.begin() + 5 * row + 5);
        CHECK(Ids(input.begin() + 1, input.end()) == Ids(target.begin(), target.end() - 1));
        Ids all = input;
        all.push_back(target.back());
        seen.push_back(source.vocabulary().decode(all));
      }
    }
    epochs.insert(seen);
    std::vector<std::u32string> expected;
    for (std::size_t place = 0; place < 14; ++place) expected.push_back(text.substr(place, 6));
    std::sort(seen.begin(), seen.end());
    std::sort(expected.begin(), expected.end());
    CHECK(seen == expected);
  }
  CHECK(epochs.size() == 3);
}

TEST_CASE("batches of a text are functions of seed, epoch and index alone") {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 300; ++i) text += std::to_string(i) + " ";
  const std::string path = folder.write("text", text);
  const auto inputs = [&](const tasks::CharacterText& source, std::int64_t epoch, std::int64_t index) {
    return source.batch(epoch, index).inputs.to_vector<std::int64_t>();
  };
  const tasks::CharacterText source(path, 8, 16, 3), again(path, 8, 16, 3), other(path, 8, 16, 4);
  const Ids late = inputs(again, 5, 7);
  for (std::int64_t epoch = 0; epoch < 6; ++epoch) {
    for (std::int64_t index = 0; index < 8; ++index) inputs(source, epoch, index);
  }
  CHECK(inputs(source, 5, 7) == late);
  CHECK(inputs(other, 5, 7) != late);
  CHECK(source.fingerprint() == other.fingerprint());
  io::write_file_atomically(folder / "changed", text + "1");
  CHECK(tasks::CharacterText(folder / "changed", 8, 16, 3).fingerprint() != source.fingerprint());
}

TEST_CASE("texts that cannot be trained on are refused with the reason") {
  const TemporaryFolder folder;
  const auto refusal = [&](const std::string& text) {
    const std::string path = folder.write("text", text);
    const std::string message = message_of<DataError>([&] { tasks::CharacterText(path, 5, 4, 1); });
    return message.starts_with(path) ? message.substr(path.size()) : message;
  };
  CHECK(refusal("") == ": the text is empty");
  CHECK(refusal("abcdé") == ": the text has 5 characters, an example needs 6: the block size and one to predict");
  CHECK(has(refusal("long enough\nb\xff"), ": line 2: invalid UTF-8 at byte 13 (0xff): "));
  CHECK(refusal("long enough\n\n□") == ": line 3: the text holds the reserved character '□' (U+25A1)");
  CHECK(refusal("long enough ⁇") == ": line 1: the text holds the reserved character '⁇' (U+2047)");
  CHECK(tasks::CharacterText(folder.write("text", "abcdéf"), 5, 4, 1).examples() == 1);
  CHECK(message_of<UsageError>([&] { tasks::CharacterText(folder / "text", 0, 4, 1); }) ==
        "block_size must be at least 1, not 0");
  CHECK(message_of<UsageError>([&] { tasks::CharacterText(folder / "text", 5, 0, 1); }) ==
        "batch_size must be at least 1, not 0");
}

TEST_CASE("a draw keeps to the likeliest characters that the rules leave") {
  // Probabilities 0.1, 0.4, 0.2, 0.3.
  const std::vector<double> logits = {std::log(0.1), std::log(0.4), std::log(0.2), std::log(0.3)};
  constexpr int draws = 20000;
  const auto shares = [&](const tasks::SamplingRules& rules) {
    std::map<std::int64_t, double> shares;
    StreamReader random(2, 1);
    for (int i = 0; i < draws; ++i) shares[tasks::draw(logits, rules, random)] += 1.0 / draws;
    return shares;
  };
  const auto check = [&](const tasks::SamplingRules& rules, const std::map<std::int64_t, double>& expected) {
    const std::map<std::int64_t, double> found = shares(rules);
    CHECK(found.size() == expected.size());
    for (const auto& [id, share] : expected) CHECK(found.at(id) == doctest::Approx(share).epsilon(0.05));
  };
  check({}, {{0, 0.1}, {1, 0.4}, {2, 0.2}, {3, 0.3}});
  check({.temperature = 0}, {{1, 1}});
  check({.temperature = 0.5}, {{0, 1 / 30.0}, {1, 16 / 30.0}, {2, 4 / 30.0}, {3, 9 / 30.0}});
  check({.top_k = 2}, {{1, 4 / 7.0}, {3, 3 / 7.0}});
  check({.top_k = 99}, {{0, 0.1}, {1, 0.4}, {2, 0.2}, {3, 0.3}});
  // The character that brings the share up to top_p belongs to it; there is always one.
  check({.top_p = 0.3}, {{1, 1}});
  check({.top_p = 0.5}, {{1, 4 / 7.0}, {3, 3 / 7.0}});
  check({.top_p = 0.75}, {{1, 4 / 9.0}, {2, 2 / 9.0}, {3, 3 / 9.0}});
  // Shares are those of what temperature and top_k leave: 4/7 alone is enough for 0.55.
  check({.top_k = 2, .top_p = 0.55}, {{1, 1}});
  check({.temperature = 0.5, .top_p = 0.5}, {{1, 1}});
}

TEST_CASE("a text is continued in the same characters with keys and values kept or computed anew") {
  constexpr std::int64_t vocabulary_size = 30, block_size = 24;
  const auto model = random_model(vocabulary_size, block_size);
  model->set_training(false);
  for (const std::int64_t length : {1, 9, 24, 25, 40}) {
    CAPTURE(length);
    Generator generator(static_cast<std::uint64_t>(length));
    const Ids prompt = random_integers({length}, generator, 2, vocabulary_size - 1).to_vector<std::int64_t>();
    for (const tasks::SamplingRules& rules :
         {tasks::SamplingRules{.temperature = 0}, tasks::SamplingRules{.top_k = 10, .top_p = 0.9}}) {
      models::Continuation kept(*model, {prompt}), anew(*model, {prompt}, false);
      StreamReader random_kept(1, 2), random_anew(1, 2);
      std::set<std::int64_t> said;
      for (std::int64_t step = 0; step < 2 * block_size; ++step) {
        const std::vector<double> logits = anew.next_logits().to_vector<double>(),
                                  same = kept.next_logits().to_vector<double>();
        for (std::size_t id = 0; id < logits.size(); ++id)
          REQUIRE(same[id] == doctest::Approx(logits[id]).epsilon(1e-4));
        anew.append({tasks::draw(logits, rules, random_anew)});
        kept.append({tasks::draw(same, rules, random_kept)});
        said.insert(anew.sequences()[0].back());
      }
      const Ids& ids = kept.sequences()[0];
      CHECK(ids == anew.sequences()[0]);
      CHECK(ids.size() == prompt.size() + 2 * block_size);
      CHECK(std::equal(prompt.begin(), prompt.end(), ids.begin()));
      if (rules.temperature > 0) CHECK(said.size() > 5);
    }
  }
  const auto refusal = [&](std::vector<Ids> prompts) {
    return message_of<ContractError>([&] { models::Continuation(*model, std::move(prompts)); });
  };
  CHECK(has(refusal({{}}), "an empty prompt cannot be continued"));
  CHECK(has(refusal({}), "there is no sequence to continue"));
  CHECK(has(refusal({{5}, {5, 6}}), "sequences of 1 and of 2 ids cannot be continued together"));
  CHECK(has(message_of<ContractError>([&] {
              models::Continuation(*model, {{5}, {6}}).append({7});
            }),
            "1 ids for 2 sequences"));
}

TEST_CASE("the context of a continuation is the last block of it") {
  const auto model = random_model(30, 8);
  model->set_training(false);
  const Ids long_prompt = {5, 9, 2, 7, 7, 20, 21, 3, 4, 11, 12, 13},
            last_block(long_prompt.end() - 8, long_prompt.end());
  const auto logits = [&](const Ids& prompt) {
    return models::Continuation(*model, {prompt}).next_logits().to_vector<double>();
  };
  CHECK(logits(long_prompt) == logits(last_block));
}
