// Corpora, span corruption, and examples that ask for a name.
#include "tasks/span_corruption/span_corruption.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "framework/base/error.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "tests/messages.h"
#include "tests/temporary_folder.h"
#include "tests/text.h"

using namespace gradus;
using data::Vocabulary;
using Ids = std::vector<std::int64_t>;

namespace {

/// A corrupted document taken apart again.
struct Taken {
  Ids prefix, suffix, span;
  std::int64_t size() const { return static_cast<std::int64_t>(prefix.size() + suffix.size() + span.size()); }
  Ids document() const {
    Ids whole = prefix;
    whole.insert(whole.end(), span.begin(), span.end());
    whole.insert(whole.end(), suffix.begin(), suffix.end());
    return whole;
  }
};

Taken take_apart(const data::Example& example) {
  Ids ids = example.input;
  ids.push_back(example.target.back());
  const bool shifted = Ids(ids.begin() + 1, ids.end()) == example.target, two_marks = std::count(ids.begin(), ids.end(), Vocabulary::mask) == 2;
  REQUIRE((shifted && two_marks));
  const auto first = std::find(ids.begin(), ids.end(), Vocabulary::mask), second = std::find(first + 1, ids.end(), Vocabulary::mask);
  const auto end = std::find(second, ids.end(), Vocabulary::pad);
  const bool only_pad_follows = std::count(end, ids.end(), Vocabulary::pad) == ids.end() - end;
  REQUIRE(only_pad_follows);
  return {{ids.begin(), first}, {first + 1, second}, {second + 1, end}};
}

Ids counting_document(std::int64_t size) {
  Ids ids;
  for (std::int64_t i = 0; i < size; ++i) ids.push_back(2 + i);
  return ids;
}

}  // namespace

TEST_CASE("a corpus is split at newlines, the empty end included") {
  const TemporaryFolder files;
  const tasks::Corpus corpus = tasks::load_corpus(files.write("corpus", "bé a\n\nab\n"));
  CHECK(corpus.summary() == "data has 9 characters, 7 unique.");
  CHECK(data::encode_utf8(corpus.vocabulary.characters()) == "□⁇\n abé");
  REQUIRE(corpus.documents.size() == 4);
  CHECK(corpus.documents[0] == Ids{5, 6, 3, 4});
  CHECK(corpus.documents[1].empty());
  CHECK(corpus.documents[2] == Ids{4, 5});
  CHECK(corpus.documents[3].empty());
  CHECK(tasks::load_corpus(files.write("corpus", "a\nb")).documents.size() == 2);
}

TEST_CASE("a corpus that cannot be used is refused with its place") {
  const TemporaryFolder files;
  const auto refusal = [&](const std::string& text) {
    const std::string path = files.write("corpus", text), message = message_of<DataError>([&] { tasks::load_corpus(path); });
    return message.starts_with(path) ? message.substr(path.size()) : message;
  };
  CHECK(refusal("") == ": the corpus is empty");
  CHECK(has(refusal("a\nb\xff"), ": line 2: invalid UTF-8 at byte 3 (0xff): "));
  CHECK(refusal("a\n\nb □") == ": line 3: the text holds the reserved character '□' (U+25A1)");
  CHECK(refusal("⁇") == ": line 1: the text holds the reserved character '⁇' (U+2047)");
}

TEST_CASE("a corrupted document is the beginning of the document with a span moved to the end") {
  const tasks::CorruptionRules rules = tasks::assignment_rules(128, 127);
  CHECK(rules.longest_truncation == 112);
  const Ids document = counting_document(200);
  std::map<std::int64_t, int> sizes;
  std::map<std::int64_t, std::set<std::int64_t>> spans, starts;
  double share = 0;
  constexpr int draws = 40000;
  for (int stream = 0; stream < draws; ++stream) {
    const data::Example example = tasks::corrupt(document, rules, 7, stream);
    REQUIRE(example.input.size() == 127);
    const Taken taken = take_apart(example);
    const std::int64_t size = taken.size(), span = static_cast<std::int64_t>(taken.span.size());
    REQUIRE(taken.document() == Ids(document.begin(), document.begin() + size));
    ++sizes[size];
    spans[size].insert(span);
    if (size == 4) starts[size].insert(static_cast<std::int64_t>(taken.prefix.size()));
    share += static_cast<double>(span) / static_cast<double>(size) / draws;
  }
  // Every length from 4 to 112 comes, about equally often: 40000 / 109 = 367 times, standard deviation 19.
  CHECK(sizes.size() == 109);
  CHECK(sizes.begin()->first == 4);
  CHECK(sizes.rbegin()->first == 112);
  for (const auto& [size, count] : sizes) CHECK_MESSAGE(std::abs(count - 367) < 100, size, " characters came ", count, " times");
  // An eighth to three eighths, a quarter in the mean, and at least one character.
  CHECK(share == doctest::Approx(0.25).epsilon(0.02));
  for (const auto& [size, lengths] : spans) {
    CHECK(*lengths.begin() >= 1);
    CHECK(static_cast<double>(*lengths.begin()) >= 0.125 * static_cast<double>(size) - 0.5);
    CHECK(static_cast<double>(*lengths.rbegin()) <= 0.375 * static_cast<double>(size) + 0.5);
  }
  CHECK(*spans[112].begin() == 14);
  CHECK(*spans[112].rbegin() == 42);
  CHECK(starts[4] == std::set<std::int64_t>{0, 1, 2, 3});
}

TEST_CASE("short documents stay whole and the empty one is two marks") {
  const tasks::CorruptionRules rules = tasks::assignment_rules(128, 127);
  for (std::int64_t size : {1, 2, 3, 5, 40}) {
    const Ids document = counting_document(size);
    int whole = 0;
    for (int stream = 0; stream < 500; ++stream) {
      const Taken taken = take_apart(tasks::corrupt(document, rules, 1, stream));
      CHECK(!taken.span.empty());
      CHECK(static_cast<double>(taken.span.size()) <= 0.375 * static_cast<double>(taken.size()) + 1);
      whole += taken.size() == size;
    }
    if (size <= 4) CHECK(whole == 500);
    if (size == 40) CHECK(whole > 250);
  }
  for (int stream = 0; stream < 50; ++stream) {
    Ids expected(127, Vocabulary::pad);
    expected[0] = expected[1] = Vocabulary::mask;
    const data::Example example = tasks::corrupt({}, rules, 1, stream);
    CHECK(example.input == expected);
    expected[1] = Vocabulary::pad;
    CHECK(example.target == expected);
  }
}

TEST_CASE("span corruption is a pure function of seed, epoch and document") {
  const TemporaryFolder files;
  std::string text;
  for (int line = 0; line < 9; ++line) text += repeated("line " + std::to_string(line) + " of the corpus. ", 3) + "\n";
  const tasks::Corpus corpus = tasks::load_corpus(files.write("corpus", text));
  REQUIRE(corpus.documents.size() == 10);
  const tasks::CorruptionRules rules = tasks::assignment_rules(64, 63);
  const tasks::SpanCorruption source(corpus, rules, 4, 3), again(corpus, rules, 4, 3), other_seed(corpus, rules, 4, 4);
  CHECK(source.batches_per_epoch() == 3);
  CHECK(source.counted_tokens_per_epoch() == 10 * 63);

  std::set<Ids> seen;
  for (std::int64_t epoch = 0; epoch < 20; ++epoch) {
    // Asked for in another order than before, an example is the same.
    CHECK(again.example(19 - epoch, 5).input == source.example(19 - epoch, 5).input);
    seen.insert(source.example(epoch, 5).input);
  }
  CHECK(seen.size() > 15);
  CHECK(other_seed.example(0, 5).input != source.example(0, 5).input);

  for (std::int64_t index = 0; index < 3; ++index) {
    const data::Batch batch = source.batch(2, index);
    const std::int64_t rows = index == 2 ? 2 : 4;
    REQUIRE(batch.lengths.size() == static_cast<std::size_t>(rows));
    CHECK(batch.inputs.shape() == Shape{1, std::accumulate(batch.lengths.begin(), batch.lengths.end(), std::int64_t{0})});
    CHECK(batch.counted_tokens == rows * 63);
    const Ids inputs = batch.inputs.to_vector<std::int64_t>(), targets = batch.targets.to_vector<std::int64_t>();
    for (std::int64_t row = 0, begin = 0; row < rows; begin += batch.lengths[row++]) {
      data::Example example = source.example(2, 4 * index + row);
      const std::int64_t columns = batch.lengths[row];
      CHECK(std::all_of(example.target.begin() + columns, example.target.end(), [](std::int64_t id) { return id == Vocabulary::pad; }));
      example.input.resize(columns);
      example.target.resize(columns);
      CHECK(Ids(inputs.begin() + begin, inputs.begin() + begin + columns) == example.input);
      CHECK(Ids(targets.begin() + begin, targets.begin() + begin + columns) == example.target);
    }
  }
  CHECK(message_of<UsageError>([&] { tasks::SpanCorruption(corpus, rules, 0, 3); }) == "batch_size must be at least 1, not 0");
  CHECK(message_of<UsageError>([&] { tasks::assignment_rules(7, 6); }) == "block_size must be at least 8 to hold a corrupted document, not 7");
}

TEST_CASE("the names in a document are its capitalised words, neighbours together, but for those of the title") {
  const auto names = [](std::u32string_view document) {
    std::vector<std::string> found;
    const tasks::Mentions mentions = tasks::find_mentions(document);
    for (const auto& [begin, end] : mentions.names)
      found.push_back(data::encode_utf8(document.substr(begin, end - begin)));
    found.insert(found.begin(), data::encode_utf8(document.substr(0, mentions.title)));
    return found;
  };
  using Strings = std::vector<std::string>;
  CHECK(names(U"Ada Long. Ada Long (2 May 1840 New York, Ohio) was a printer of New York .") ==
        Strings{"Ada Long", "New York", "Ohio", "New York"});
  CHECK(names(U"J. R. Ito. Ito was born in \u00c5bo-Land by O'Neil") ==
        Strings{"J. R. Ito", "\u00c5bo-Land", "O'Neil"});
  CHECK(names(U"Bo Ek. A 747 in Oslo 2nd Bergen M16 Voss1 in the 1840s .") == Strings{"Bo Ek", "A", "Oslo", "Bergen"});
  CHECK(names(U"no full stop, in Rome") == Strings{""});
  CHECK(names(U"") == Strings{""});
  CHECK(names(U"X. ") == Strings{""});
  const auto preferred = [](std::u32string_view document) -> std::string {
    const tasks::Mentions mentions = tasks::find_mentions(document, U"born");
    if (mentions.preferred < 0) return "";
    const auto [begin, end] = mentions.names[mentions.preferred];
    return data::encode_utf8(document.substr(begin, end - begin));
  };
  CHECK(preferred(U"Ada Long. The Dane was born in May in New York near Ohio .") == "New York");
  CHECK(preferred(U"Ada Long. Born in Rome, Ada left for Paris .") == "Rome");
  CHECK(preferred(U"Ada Long. In Rome she was born .") == "");
  CHECK(preferred(U"Ada Long. A stubborn Dane .") == "");
}

TEST_CASE("an example that asks for a name: title, words around it, and a loss on the name alone") {
  const std::u32string text = U"Ada Long. She was born (2nd May 1840) in Rome, and lived with Bob Hope in Paris .";
  const Vocabulary vocabulary = Vocabulary::from_text(text, "test");
  const std::vector<std::int64_t> document = vocabulary.encode(text, "test");
  const tasks::Mentions mentions = tasks::find_mentions(text);
  std::set<std::string> seen;
  std::size_t title_first = 0;
  for (std::uint64_t stream = 0; stream < 2000; ++stream) {
    StreamReader draw(3, stream);
    const auto example = tasks::ask_for_name(document, mentions, 0.5, 127, draw);
    REQUIRE(example);
    CHECK(example->input.size() == 127);
    std::vector<std::int64_t> ids = example->input;
    ids.erase(std::find(ids.begin(), ids.end(), Vocabulary::pad), ids.end());
    const std::string line = data::encode_utf8(vocabulary.decode(ids));
    seen.insert(line);
    // context, with the title on one side, then the name
    const std::size_t first = line.find("⁇"), second = line.find("⁇", first + 1), third = line.find("⁇", second + 1);
    REQUIRE(third + std::string("⁇").size() == line.size());
    const std::string name = line.substr(second + 3, third - second - 3);
    std::string context = line.substr(0, second);
    if (context.starts_with("Ada Long. ")) {
      ++title_first;
      context.erase(0, 10);
    } else {
      REQUIRE(context.ends_with(". Ada Long"));
      context.resize(context.size() - 10);
    }
    context.replace(context.find("⁇"), 3, name);
    CHECK(std::string("She was born May in Rome and lived with Bob Hope in Paris").find(context) != std::string::npos);
    const std::set<std::string> names = {"She", "Rome", "Bob Hope", "Paris"};
    CHECK(names.count(name) == 1);
    std::vector<std::int64_t> counted;
    for (std::int64_t id : example->target) {
      if (id != Vocabulary::pad) counted.push_back(id);
    }
    CHECK(data::encode_utf8(vocabulary.decode(counted)) == name + "⁇");
  }
  CHECK(seen.count("Ada Long. born May in ⁇⁇Rome⁇") == 1);
  CHECK(seen.count("in ⁇ and. Ada Long⁇Rome⁇") == 1);
  CHECK(seen.size() > 60);
  CHECK(title_first > 900);
  CHECK(title_first < 1100);
  const tasks::Mentions preferring = tasks::find_mentions(text, U"born");
  const auto romes = [&](double share) {
    std::size_t count = 0;
    for (std::uint64_t stream = 0; stream < 400; ++stream) {
      StreamReader draw(4, stream);
      const Ids input = tasks::ask_for_name(document, preferring, share, 127, draw)->input;
      count += text_of(vocabulary, input).find("⁇Rome⁇") != std::string::npos;
    }
    return count;
  };
  CHECK(romes(0) < 130);    // a quarter
  CHECK(romes(0.5) > 210);  // half, and a quarter of the other half
  CHECK(romes(0.5) < 290);
  CHECK(romes(1) == 400);
  StreamReader draw(3, 0);
  CHECK(!tasks::ask_for_name(document, mentions, 0.5, 11, draw));  // no room
  CHECK(!tasks::ask_for_name(document, tasks::find_mentions(U"nothing"), 0.5, 127, draw));
}

TEST_CASE("a share of the examples asks for names; without it the examples are as ever") {
  const TemporaryFolder files;
  const tasks::Corpus corpus = tasks::load_corpus(
      files.write("corpus", "Ada Long. She was born in Rome .\nno names here\nBo Ek. Lived in Oslo ."));
  tasks::CorruptionRules rules = tasks::assignment_rules(48, 47);
  const tasks::SpanCorruption plain(corpus, rules, 2, 7);
  rules.names = 0.5;
  const tasks::SpanCorruption mixed(corpus, rules, 2, 7);
  std::size_t asked = 0;
  for (std::int64_t epoch = 0; epoch < 200; ++epoch) {
    for (std::int64_t document = 0; document < 3; ++document) {
      const data::Example example = mixed.example(epoch, document);
      if (example.input == plain.example(epoch, document).input &&
          example.target == plain.example(epoch, document).target)
        continue;
      CHECK(document != 1);
      ++asked;
    }
  }
  CHECK(asked > 150);
  CHECK(asked < 250);
  rules.names = 1.5;
  CHECK(message_of<UsageError>([&] { tasks::SpanCorruption(corpus, rules, 2, 7); }) ==
        "--names must be between 0 and 1, not 1.5");
}

TEST_CASE("the two editions differ by one id") {
  for (std::int64_t length : {127, 128}) {
    const data::Example example = tasks::corrupt(counting_document(150), tasks::assignment_rules(128, length), 1, 2);
    CHECK(static_cast<std::int64_t>(example.input.size()) == length);
    CHECK(static_cast<std::int64_t>(example.target.size()) == length);
  }
}

TEST_CASE("batches are consecutive lines, or a shuffle that differs in every epoch") {
  CHECK(tasks::batch_items(10, 4, 0, false, 1, 0) == Ids{0, 1, 2, 3});
  CHECK(tasks::batch_items(10, 4, 2, false, 1, 5) == Ids{8, 9});
  std::set<Ids> orders;
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
    Ids order;
    for (std::int64_t index = 0; index < 3; ++index) {
      const Ids items = tasks::batch_items(10, 4, index, true, 1, epoch);
      CHECK(items == tasks::batch_items(10, 4, index, true, 1, epoch));
      order.insert(order.end(), items.begin(), items.end());
    }
    orders.insert(order);
    std::sort(order.begin(), order.end());
    CHECK(order == Ids{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  }
  CHECK(orders.size() == 5);
}
