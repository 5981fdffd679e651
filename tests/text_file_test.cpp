// Texts from every machine, and questions in them: what is read as it is meant, with a word about it, and what is
// refused.
#include "framework/data/text_file.h"

#include <doctest/doctest.h>

#include "framework/base/error.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "tasks/birthplace/evaluation.h"
#include "tasks/birthplace/names.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tests/messages.h"
#include "tests/temporary_folder.h"

using namespace gradus;
using namespace std::string_literals;
using Notices = std::vector<std::string>;

namespace {

/// UTF-16 or UTF-32 without a byte order mark.
std::string in_wide_characters(const std::string& text, int bytes, bool little_endian) {
  std::string wide;
  for (const char32_t character : data::decode_utf8(text, "test")) {
    for (int i = 0; i < bytes; ++i) {
      const int shift = 8 * (little_endian ? i : bytes - 1 - i);
      wide += static_cast<char>(shift < 32 ? character >> shift : 0);
    }
  }
  return wide;
}

std::string read(const std::string& bytes) { return data::encode_utf8(data::parse_text(bytes, "f").text); }
Notices notices(const std::string& bytes) { return data::parse_text(bytes, "f").notices; }
std::string refusal(const std::string& bytes) {
  return message_of<DataError>([&] { data::parse_text(bytes, "f"); });
}

const std::string text = "Anna Moll. Anna Moll (born 1901 in Köln) was a chemist.\nBéla Sz. Béla was born in Győr.\n";

}  // namespace

TEST_CASE("a text without oddities is as it is") {
  for (const std::string& plain :
       {""s, "a"s, "one\ntwo"s, "\n\n"s, "tab\there\n"s, text, "野 😀 \u00a0 \u200e \u00ad\n"s}) {
    CHECK(read(plain) == plain);
    CHECK(notices(plain).empty());
  }
}

TEST_CASE("line ends are read as Python's text mode reads them") {
  CHECK(read("a\r\nb\r\n") == "a\nb\n");
  CHECK(read("a\rb\r") == "a\nb\n");
  CHECK(read("a\r\r\nb\n\rc") == "a\n\nb\n\nc");
  CHECK(notices("a\r\nb\r\n") == Notices{"f: 2 line ends CRLF read as LF"});
  CHECK(notices("a\r\nb\n") == Notices{"f: 1 line end CRLF read as LF"});
  CHECK(notices("a\rb") == Notices{"f: 1 line end CR read as LF"});
  CHECK(notices("a\r\r\nb\rc") == Notices{"f: 1 line end CRLF and 2 line ends CR read as LF"});
  std::string many;
  for (int i = 0; i < 12345; ++i) many += "x\r\n";
  CHECK(notices(many) == Notices{"f: 12,345 line ends CRLF read as LF"});
}

TEST_CASE("a byte order mark at the beginning is skipped") {
  CHECK(read("\ufeffa\n") == "a\n");
  CHECK(notices("\ufeffa\n") == Notices{"f: the byte order mark at its beginning is skipped"});
  CHECK(read("\ufeff") == "");
}

TEST_CASE("characters that nobody sees stay, and are counted") {
  CHECK(read("a\n\ufeffb") == "a\n\ufeffb");
  CHECK(notices("a\n\ufeffb") == Notices{"f: a character that nobody sees is part of the text, the U+FEFF in line 2"});
  CHECK(read("a\x1b[1m\n\u0085\u2028\f\x1a") == "a\x1b[1m\n\u0085\u2028\f\x1a");
  CHECK(notices("a\n\x1b[1m\n\u0085\u2028\f\x1a") ==
        Notices{"f: 5 characters that nobody sees are part of the text, the first U+001B in line 2"});
}

TEST_CASE("the fingerprint is the text's") {
  const auto fingerprint = [](const std::string& bytes) { return data::parse_text(bytes, "f").fingerprint; };
  CHECK(fingerprint("a\nb\n") == fingerprint("a\r\nb\r\n"));
  CHECK(fingerprint("a\nb\n") == fingerprint("\ufeff"
                                             "a\rb\n"));
  CHECK(fingerprint("a\nb\n") != fingerprint("a\nb"));
  CHECK(fingerprint("a\nb\n") != fingerprint("a\n\ufeffb\n"));
}

TEST_CASE("UTF-16 and UTF-32 are refused by name, with and without a byte order mark") {
  for (const bool little : {true, false}) {
    for (const std::string mark : {"", "\ufeff"}) {
      CHECK(refusal(in_wide_characters(mark + text, 2, little)) ==
            "f: UTF-16 text: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)");
      CHECK(refusal(in_wide_characters(mark + text, 4, little)) ==
            "f: UTF-32 text: save it as UTF-8 (iconv -f UTF-32 -t UTF-8)");
    }
  }
  CHECK(has(refusal(in_wide_characters("\ufeff野", 2, true)), "UTF-16"));
}

TEST_CASE("what is no text at all is named for what it is") {
  const struct {
    std::string bytes, kind;
  } table[] = {
      {"\x1f\x8b\x08\0\0"s, "a gzip archive: unpack it with gunzip"},
      {"PK\x03\x04\x14\0"s, "a zip archive"},
      {"%PDF-1.7\n%\xb5\xb5", "a PDF document"},
      {"{\\rtf1\\ansi}", "an RTF document"},
      {"\xd0\xcf\x11\xe0\xa1", "an old Office document"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"},
      {"\x02\0\0\0\0\0\0\0{}"s, "a safetensors file"},
  };
  for (const auto& row : table) CHECK(refusal(row.bytes).starts_with("f: it is " + row.kind));
  for (const std::string text : {"BZh, a shorthand\n", "PK is a code\n", "GGUF\n", "{\"seed\": 1}\n"})
    CHECK(read(text) == text);
}

TEST_CASE("a NUL is refused with its line") {
  CHECK(refusal(text + "a\0b"s) == "f: line 3: a NUL at byte " + std::to_string(text.size() + 1) +
                                       ": a text has none; the file is damaged, or no text");
  CHECK(has(refusal(std::string(4096, '\0')), "f: line 1: a NUL at byte 0"));
}

TEST_CASE("what is not UTF-8 is refused with line, byte and what it may be") {
  CHECK(
      refusal("one\r\nun caf\xe9 noir\n") ==
      "f: line 2: invalid UTF-8 at byte 11 (0xe9): in Windows-1252 it is 'un café noir'; if that is right, save it as "
      "UTF-8 (iconv -f WINDOWS-1252 -t UTF-8)");
  CHECK(has(refusal("\x93quoted\x94 \x80 5"), "'“quoted” € 5'"));
  CHECK(has(refusal("caf\xe9 \x81"), "invalid UTF-8 at byte 3 (0xe9): save it as UTF-8"));
  CHECK(has(refusal("été\nun caf\xe9 noir\n"), "line 2: invalid UTF-8 at byte 12 (0xe9): what stands before is UTF-8"));
  CHECK(has(refusal("a \xed\xa0\xbd\xed\xb8\x80"), "byte 2 (0xed): half a surrogate pair, as CESU-8 has it"));
  CHECK(has(refusal("cut off: \xe9\x87"), "byte 9 (0xe9): it ends in the midst of a character"));
  CHECK(has(refusal("cut off: \xf0\x9f\x98"), "it ends in the midst of a character"));
  CHECK(has(refusal("a\rb\rc\xff"), "f: line 3: "));
}

namespace {

struct Questions {
  TemporaryFolder folder;
  tasks::QuestionFile load(const std::string& bytes, tasks::Places places = tasks::Places::needed) const {
    return tasks::load_questions(folder.write("q", bytes), places);
  }
  /// Without the path.
  std::string refusal(const std::string& bytes, tasks::Places places) const {
    const std::string message = message_of<DataError>([&] { load(bytes, places); }), path = folder / "q";
    return message.starts_with(path + ": ") ? message.substr(path.size() + 2) : message;
  }
  Notices notices(const std::string& bytes, tasks::Places places = tasks::Places::needed) const {
    Notices all = load(bytes, places).notices;
    for (std::string& notice : all) notice = notice.substr((folder / "q").size() + 2);
    return all;
  }
};

const std::string first = "Where was A born?\tBern\n";

}  // namespace

TEST_CASE("the same questions are refused in training and in evaluation") {
  const Questions files;
  const struct {
    std::string bytes, said;
  } table[] = {
      {"", "no questions in the file"},
      {"\n \n\n", "no questions in the file"},
      {first + "\n" + first, "line 2: the line is blank, and others follow: delete it"},
      {first + " \u00a0\n" + first, "line 2: the line is blank"},
      {first + "Where was Leona born?    Cairo\n",
       "line 2: no tab between question and place (4 spaces stand there): 'Where was Leona born?    Cairo'"},
      {"Where was Leona born? Cairo\n", "line 1: no tab between question and place (a space stands there)"},
      {"Where was Leona born?\u00a0Cairo\n", "line 1: no tab between question and place (a space stands there)"},
      {"Where was Leona born?, Cairo\n", "line 1: no tab between question and place (', ' stands there)"},
      {"Where was Leona born?;Cairo\n", "line 1: no tab between question and place (';' stands there)"},
      {"Where was Leona born?Cairo\n", "line 1: no tab between question and place (nothing stands there)"},
      {"Birthplace of Leona   Cairo\n", "line 1: no tab between question and place (3 spaces stand there)"},
      {first + "Where was B born?\n", "line 2: no tab between question and place: 'Where was B born?'"},
      {"Where was B born?\n" + first, "line 1: no tab between question and place: 'Where was B born?'"},
      {"Where?\tBern\tCH\n", "line 1: more than one tab, where one stands between question and place"},
      {first + "Where?\tBern\t\n", "line 2: more than one tab"},
      {first + "Where?\t\n", "line 2: the place is empty"},
      {first + "Where?\t \u00a0\n", "line 2: the place is empty"},
      {first + "\tBern\n", "line 2: the question is empty"},
      {"\"Where?\"\tBern\n", "line 1: the question stands in quotation marks, which a spreadsheet adds"},
      {"Where?\t\"Bern\"\n", "line 1: the place stands in quotation marks"},
      {"Where?\tBern\u200b\n", "line 1: a character that nobody sees, U+200B, is in the place"},
      {"Where?\tBe\u00adrn\n", "line 1: a character that nobody sees, U+00AD, is in the place"},
      {"Where\u202e?\tBern\n", "line 1: a character that nobody sees, U+202E, is in the question"},
      {"Where\x1b[2J?\tBern\n", "line 1: a character that nobody sees, U+001B, is in the question 'Where\\u001b[2J?'"},
      {first + "\ufeffWhere?\tBern\n", "line 2: a character that nobody sees, U+FEFF, is in the question"},
      {first + "\x1a", "line 2: no tab between question and place: '\\u001a'"},
      {"Where?\tBern\u200d\n", "line 1: a character that nobody sees, U+200D"},
  };
  for (const auto& row : table) {
    CAPTURE(row.bytes);
    for (const tasks::Places places : {tasks::Places::needed, tasks::Places::optional}) {
      const std::string said = files.refusal(row.bytes, places);
      CHECK_MESSAGE(said.starts_with(row.said), "it said: ", said);
    }
  }
}

TEST_CASE("questions alone are for evaluation only") {
  const Questions files;
  CHECK(files.refusal("Where was A born?\n", tasks::Places::needed) ==
        "line 1: no tab between question and place: 'Where was A born?'");
  const tasks::QuestionFile file = files.load("Where was A born?\nWhere was B born?", tasks::Places::optional);
  CHECK_FALSE(file.has_places);
  CHECK(file.questions.size() == 2);
  CHECK(file.notices.empty());
  CHECK(files.notices("Where was A born?\t\nWhere was B born?\n", tasks::Places::optional) ==
        Notices{"a tab without a place is left out in line 1"});
}

TEST_CASE("spaces around fields and blank lines at the end are left out, with a word") {
  const Questions files;
  const std::string odd = "Where was A born?\t Bern\u00a0\n  Where was B born? \tOslo\n\n \n";
  CHECK(files.notices(odd) == Notices{"spaces around question or place are left out in 2 lines, the first line 1",
                                      "2 blank lines at its end are skipped"});
  CHECK(files.notices(first + "\n") == Notices{"a blank line at its end is skipped"});
  const tasks::QuestionFile file = files.load(odd);
  REQUIRE(file.questions.size() == 2);
  CHECK(file.questions[0].place == U"Bern");
  CHECK(file.questions[1].text == U"Where was B born?");
  // Joiners belong to some scripts' words.
  CHECK(files.load("Where?\tनई\u200dद\n").questions[0].place.size() > 3);
}

TEST_CASE("a place of which finetuning would leave nothing is refused") {
  const TemporaryFolder folder;
  const auto vocabulary = data::Vocabulary::from_text(U"Where?Bern", "test");
  const std::string message =
      message_of<DataError>([&] { tasks::Names(folder.write("q", "Where?\t大阪\n"), vocabulary, 31, 1, 0); });
  CHECK(has(message, "q: line 1: the place '大阪' has no character in ASCII"));
  // Spaces that stood beside a dropped character go too, as they always did.
  const tasks::Names names(folder.write("q", "Where?\té Bern é\n"), vocabulary, 31, 1, 0);
  CHECK(data::encode_utf8(vocabulary.decode(names.examples()[0].input)).starts_with("Where?⁇Bern⁇□"));
}

TEST_CASE("each answer is one line for every reader") {
  const TemporaryFolder folder;
  std::vector<std::u32string> answers = {U"", U"Bern"};
  for (const char32_t end : {0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029})
    answers.push_back(std::u32string(U"a") + end + U"b");
  answers.push_back(U"\x1b[2J");
  answers.push_back(U"");
  tasks::write_predictions(folder / "out", answers);
  std::string expected = "\nBern\n";
  for (int i = 0; i < 10; ++i) expected += "a\u2424b\n";
  CHECK(io::read_file(folder / "out") == expected + "\\u001b[2J\n\n");
}

TEST_CASE("a text of which little is ever read") {
  const TemporaryFolder folder;
  const auto said = [&](const std::string& bytes) {
    const tasks::Corpus corpus = tasks::load_corpus(folder.write("c", bytes));
    const std::string line = tasks::SpanCorruption(corpus, tasks::assignment_rules(128, 127), 8, 0).unread_text();
    return line.empty() ? line : line.substr((folder / "c").size() + 2);
  };
  CHECK(said(std::string(6296, 'a')) ==
        "1 document of 6296 characters, of which at most 112 are ever read: a document is a line");
  CHECK(said(std::string(113, 'a') + "\n") ==
        "1 document of 113 characters, of which at most 112 are ever read: a document is a line");
  CHECK(said(std::string(112, 'a') + "\n").empty());
  CHECK(said("short\n" + std::string(6296, 'a')) ==
        "2 documents of 6301 characters, of which at most 112 are ever read of each: a document is a line");
  CHECK(said(std::string(516, 'a') + "\n" + std::string(516, 'b')).empty());
}
