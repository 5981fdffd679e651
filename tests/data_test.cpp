// UTF-8, the vocabulary and batches: what goes in comes out, and whatever does not fit is refused with its place.
#include <doctest/doctest.h>

#include "framework/base/error.h"
#include "framework/data/batch.h"
#include "framework/data/utf8.h"
#include "framework/data/vocabulary.h"
#include "tests/messages.h"

using namespace gradus;

// ---- UTF-8 ----

TEST_CASE("all code points go to UTF-8 and back") {
  std::u32string all;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xD800 || c >= 0xE000) all.push_back(c);
  }
  CHECK(data::decode_utf8(data::encode_utf8(all), "all") == all);
  CHECK(data::encode_utf8(U"aé□𝄞") == "a\xC3\xA9\xE2\x96\xA1\xF0\x9D\x84\x9E");
}

TEST_CASE("invalid UTF-8 is refused with line and byte") {
  const std::string starts[] = {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC3", "\xC3(", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xE2\x96", "\xED\xA0\x80",
                                "\xED\xBF\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF0\x9D\x84", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF"};
  for (const std::string& bytes : starts) {
    CHECK(message_of<DataError>([&] { data::decode_utf8("one\ntwo é " + bytes, "f.txt"); }) == "f.txt: line 2: invalid UTF-8 at byte 11");
    CHECK(has(message_of<DataError>([&] { data::decode_utf8(bytes + "\nrest", "f.txt"); }), "f.txt: line 1: invalid UTF-8 at byte 0"));
  }
}

TEST_CASE("characters are described by number, and by themselves where that is harmless") {
  CHECK(data::describe_character(U'é') == "'é' (U+00E9)");
  CHECK(data::describe_character(U'𝄞') == "'𝄞' (U+1D11E)");
  CHECK(data::describe_character(U'\n') == "U+000A");
  CHECK(data::describe_character(0x7F) == "U+007F");
  CHECK(data::describe_character(0x9B) == "U+009B");  // begins a terminal's escape sequence
}

// ---- vocabulary ----

TEST_CASE("ids: pad, mask, then the characters of the text by code point") {
  const data::Vocabulary vocabulary = data::Vocabulary::from_text(U"béa\nab", "t");
  CHECK(vocabulary.size() == 6);
  CHECK(vocabulary.characters() == U"□⁇\nabé");
  CHECK(vocabulary.encode(U"□⁇abé\n", "t") == std::vector<std::int64_t>{0, 1, 3, 4, 5, 2});
  CHECK(vocabulary.decode({5, 0, 2}) == U"é□\n");
  CHECK(vocabulary.encode(U"", "t").empty());
  CHECK(vocabulary.contains(U'b'));
  CHECK_FALSE(vocabulary.contains(U'c'));
  CHECK(data::Vocabulary::from_text(U"", "t").size() == 2);
  CHECK(data::Vocabulary::from_characters(vocabulary.characters(), "t") == vocabulary);
}

TEST_CASE("what a vocabulary cannot hold is named with its place") {
  const data::Vocabulary vocabulary = data::Vocabulary::from_text(U"abc\n", "t");
  CHECK(message_of<DataError>([&] { vocabulary.encode(U"a\nb\nß", "q.tsv"); }) == "q.tsv: line 3: the character 'ß' (U+00DF) is not in the vocabulary");
  CHECK(has(message_of<DataError>([&] { vocabulary.encode(U"ß", "q.tsv", 7); }), "q.tsv: line 7:"));
  CHECK(message_of<DataError>([] { data::Vocabulary::from_text(U"one\ntwo ⁇", "w.txt"); }) ==
        "w.txt: line 2: the text holds the reserved character '⁇' (U+2047)");
  CHECK(has(message_of<DataError>([] { data::Vocabulary::from_text(U"□", "w.txt"); }), "line 1: the text holds the reserved character '□' (U+25A1)"));
  CHECK(has(message_of<ContractError>([&] { vocabulary.decode({0, 6}); }), "id 6 is outside the vocabulary of 6 characters"));
  CHECK(has(message_of<ContractError>([&] { vocabulary.decode({-1}); }), "id -1 is outside"));
  for (const char32_t* characters : {U"", U"□", U"⁇□ab", U"abc"}) {
    CHECK(has(message_of<DataError>([&] { data::Vocabulary::from_characters(characters, "m"); }), "m: the vocabulary does not begin with the two reserved"));
  }
  CHECK(has(message_of<DataError>([] { data::Vocabulary::from_characters(U"□⁇aba", "m"); }), "m: the vocabulary repeats a character"));
}

TEST_CASE("a model and a corpus of different vocabularies do not go together") {
  const data::Vocabulary of_model = data::Vocabulary::from_text(U"abc", "m"), same = data::Vocabulary::from_text(U"cba", "c");
  data::require_same_vocabulary(of_model, same, "m.params", "c.txt");
  const data::Vocabulary other = data::Vocabulary::from_text(U"abxy", "c");
  CHECK(message_of<DataError>([&] { data::require_same_vocabulary(of_model, other, "m.params", "c.txt"); }) ==
        "c.txt: not the corpus that m.params was trained with: its vocabulary differs (6 characters against 5; 'x' (U+0078) is new; 'c' (U+0063) is missing)");
}

// ---- batches ----

TEST_CASE("padding at the end of an example is left out, and counted all the same") {
  const data::Batch batch = data::collate({{{5, 6, 0, 0, 0}, {0, 7, 0, 0, 0}}, {{5, 0, 0, 0, 0}, {0, 0, 8, 0, 0}}});
  CHECK(batch.inputs.spec() == TensorSpec{{1, 5}, DType::i64});
  CHECK(batch.lengths == std::vector<std::int64_t>{2, 3});
  CHECK(batch.inputs.to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 6, 5, 0, 0});
  CHECK(batch.targets.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 7, 0, 0, 8});
  CHECK(batch.counted_tokens == 10);
  const data::Batch padded = data::collate({{{0, 0}, {0, 0}}});
  CHECK(padded.inputs.shape() == Shape{1, 1});
  CHECK(padded.counted_tokens == 2);
  CHECK(data::collate({{{0, 1}, {0, 0}}}).inputs.shape() == Shape{1, 2});
  CHECK(has(message_of<ContractError>([] { data::collate({}); }), "at least one example"));
  CHECK(batch.predicted == 2);
  const std::vector<data::Batch> halves = data::split(batch, 2);
  REQUIRE(halves.size() == 2);
  CHECK(halves[0].inputs.to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 6});
  CHECK(halves[1].targets.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 0, 8});
  CHECK(halves[1].lengths == std::vector<std::int64_t>{3});
  CHECK(halves[0].predicted + halves[1].predicted == 2);
  CHECK(data::split(batch, 7).size() == 2);
  CHECK(data::split(batch, 1)[0].lengths == batch.lengths);
  const data::Batch rows = data::padded(batch, data::Padding::to_full_length);
  CHECK(rows.inputs.shape() == Shape{2, 5});
  CHECK(rows.inputs.to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 6, 0, 0, 0, 5, 0, 0, 0, 0});
  CHECK(rows.targets.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 7, 0, 0, 0, 0, 0, 8, 0, 0});
  CHECK(rows.lengths.empty());
  CHECK(rows.predicted == 2);
  CHECK(rows.counted_tokens == 10);
  const data::Batch shorter = data::padded(batch, data::Padding::to_longest);
  CHECK(shorter.inputs.shape() == Shape{2, 3});
  CHECK(shorter.inputs.to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 6, 0, 5, 0, 0});
  CHECK(shorter.targets.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 7, 0, 0, 0, 8});
  CHECK(shorter.predicted == 2);
  CHECK(shorter.counted_tokens == 10);
  const std::vector<data::Batch> rows_apart = data::split(rows, 3);
  REQUIRE(rows_apart.size() == 2);
  CHECK(rows_apart[1].inputs.shape() == Shape{1, 5});
  CHECK(rows_apart[1].inputs.to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 0, 0, 0, 0});
  CHECK(rows_apart[1].targets.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 0, 8, 0, 0});
  CHECK(rows_apart[1].lengths.empty());
  CHECK(rows_apart[0].predicted == 1);
  CHECK(rows_apart[0].counted_tokens + rows_apart[1].counted_tokens == 10);
  CHECK(has(message_of<ContractError>([&] { data::padded(halves[1], data::Padding::to_longest); }),
            "a part of a batch cannot be padded"));
  CHECK(has(message_of<ContractError>([] { data::collate({{{1, 2}, {1, 2}}, {{1}, {1}}}); }), "one length"));
  CHECK(has(message_of<ContractError>([] { data::collate({{{1, 2}, {1}}}); }), "one length"));
}
