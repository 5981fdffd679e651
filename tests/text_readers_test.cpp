// Every command that reads a text, with texts from every machine: what is meant is read, with a line that says what was
// done, or it is refused in one line. A pipe is as good as a file.
#include "framework/data/utf8.h"
#include "tests/workplace.h"

namespace {

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

std::string in_utf16(const std::string& text) {
  std::string wide = "\xff\xfe";
  for (const char32_t character : data::decode_utf8(text, "test")) {
    wide += static_cast<char>(character);
    wide += static_cast<char>(character >> 8);
  }
  return wide;
}

std::string in_utf32(const std::string& text) {
  std::string wide;
  for (const char32_t character : data::decode_utf8(text, "test")) {
    for (const int shift : {0, 8, 16, 24}) wide += static_cast<char>(character >> shift);
  }
  return wide;
}

std::string in_latin1(const std::string& text) {
  std::string bytes;
  for (const char32_t character : data::decode_utf8(text, "test"))
    bytes += character < 0x100 ? static_cast<char>(character) : '?';
  return bytes;
}

/// In the middle of `text`.
std::string with(std::string text, const std::string& bytes) { return text.insert(text.size() / 2, bytes); }

/// What becomes of a text on its way, and what is said about it; in a message FILE is the file.
struct Oddity {
  std::string name;
  std::function<std::string(const std::string&)> apply;
  std::string said;
};

const std::vector<Oddity>& read_as_meant() {
  static const std::vector<Oddity> all = {
      {"crlf", [](const std::string& text) { return replaced(text, "\n", "\r\n"); }, " CRLF read as LF"},
      {"cr", [](const std::string& text) { return replaced(text, "\n", "\r"); }, " CR read as LF"},
      {"one_crlf", [](std::string text) { return text.insert(text.find('\n'), "\r"); },
       "FILE: 1 line end CRLF read as LF"},
      {"bom", [](const std::string& text) { return "\ufeff" + text; },
       "FILE: the byte order mark at its beginning is skipped"},
  };
  return all;
}

const std::vector<Oddity>& refused() {
  static const std::vector<Oddity> all = {
      {"utf16", in_utf16, "FILE: UTF-16 text: save it as UTF-8"},
      {"utf16_bare", [](const std::string& text) { return in_utf16(text).substr(2); },
       "FILE: UTF-16 text: save it as UTF-8"},
      {"utf32", in_utf32, "FILE: UTF-32 text: save it as UTF-8"},
      {"nul", [](const std::string& text) { return with(text, std::string(1, '\0')); }, ": a NUL at byte "},
      {"latin1", [](const std::string& text) { return with(in_latin1(text), "\xe9"); }, "in Windows-1252 it is '"},
      {"cesu8", [](const std::string& text) { return with(text, "\xed\xa0\xbd\xed\xb8\x80"); },
       "half a surrogate pair"},
      {"gzip", [](const std::string& text) { return "\x1f\x8b\x08" + text; },
       "FILE: it is a gzip archive: unpack it with gunzip"},
      {"pdf", [](const std::string& text) { return "%PDF-1.7\n" + text; }, "FILE: it is a PDF document"},
      {"cut_off", [](const std::string& text) { return text + "\xe9\x87"; }, "it is cut off"},
  };
  return all;
}

/// A command that reads the file FILE; others it finds in the workplace.
struct Reader {
  std::string line;
  std::string reads = "corpus.txt";  ///< the file whose odd sisters it is given
};

const std::string model_flags = " --reading_params_path model", plain = " --outputs_path out" + model_flags;
const std::string train = " --max_epochs 1 --max_steps 1 --force --writing_params_path new" + tiny;

const std::vector<Reader>& readers() {
  static const std::vector<Reader> all = {
      {"pretrain vanilla FILE" + train},
      {"pretrain-text FILE --max_epochs 1 --max_steps 1 --force --writing_params_path new" + tiny},
      {"finetune vanilla FILE --finetune_corpus_path train.tsv" + train},
      {"evaluate vanilla FILE --eval_corpus_path held_out.tsv" + plain},
      {"inspect FILE"},
      {"data charcorruption FILE"},
      {"data namedata FILE train.tsv"},
      {"finetune vanilla corpus.txt --finetune_corpus_path FILE" + train, "train.tsv"},
      {"evaluate vanilla --eval_corpus_path FILE" + plain, "held_out.tsv"},
      {"london_baseline FILE", "held_out.tsv"},
      {"data namedata corpus.txt FILE", "train.tsv"},
      {"pretrain vanilla corpus.txt --config FILE" + train, "settings.json"},
      {"sample model --prompt A --config FILE", "settings.conf"},
      {"pretrain vanilla corpus.txt --recipe FILE" + train, "recipe.json"},
  };
  return all;
}

const TemporaryFolder& folder() {
  const TemporaryFolder& folder = workplace();
  static bool ready = false;
  if (ready) return folder;
  folder.write("settings.json", "{\n  \"seed\": 3,\n  \"dropout\": 0\n}\n");
  folder.write("settings.conf", "# a comment\nseed = 3\nmax_new = 5\n");
  folder.write("recipe.json", "{\n  \"pretrain\": {\n    \"shuffle\": true\n  }\n}\n");
  ready = true;
  return folder;
}

/// What FILE in a command line or a message stands for.
std::string about(const std::string& line, const std::string& file) { return replaced(line, "FILE", file); }

std::string write_odd(const Reader& reader, const Oddity& oddity) {
  const std::string name = oddity.name + "." + reader.reads;
  folder().write(name, oddity.apply(io::read_file(folder() / reader.reads)));
  return name;
}

}  // namespace

TEST_CASE("line ends and byte order marks change nothing but that a line says so") {
  for (const Reader& reader : readers()) {
    CAPTURE(reader.line);
    const Outcome usual = run_program(folder(), words(about(reader.line, reader.reads)));
    REQUIRE_MESSAGE(usual.status == 0, usual.err);
    CHECK_FALSE(has(usual.err, "note: " + reader.reads));
    for (const Oddity& oddity : read_as_meant()) {
      CAPTURE(oddity.name);
      const std::string file = write_odd(reader, oddity);
      const Outcome outcome = run_program(folder(), words(about(reader.line, file)));
      CHECK_MESSAGE(outcome.status == 0, outcome.err);
      CHECK(replaced(outcome.out, file, reader.reads) == usual.out);
      const std::size_t note = outcome.err.find("note: " + file + ": ");
      REQUIRE_MESSAGE(note != std::string::npos, outcome.err);
      const std::string line = outcome.err.substr(note, outcome.err.find('\n', note) - note);
      CHECK_MESSAGE(has(line, about(oddity.said, file)), line);
      CHECK_FALSE(has(outcome.err.substr(note + 1), "note: " + file));
    }
  }
}

TEST_CASE("other encodings and damage are refused in one line") {
  for (const Reader& reader : readers()) {
    for (const Oddity& oddity : refused()) {
      CAPTURE(reader.line);
      CAPTURE(oddity.name);
      const std::string file = write_odd(reader, oddity);
      std::filesystem::remove(folder() / "new");
      const Outcome outcome = run_program(folder(), words(about(reader.line, file)));
      CHECK(outcome.status == 3);
      CHECK(line_count(outcome.err) == 1);
      CHECK(outcome.err.starts_with("gradus: " + file + ": "));
      CHECK_MESSAGE(has(outcome.err, about(oddity.said, file)), outcome.err);
      CHECK_FALSE(std::filesystem::exists(folder() / "new"));
    }
  }
}

TEST_CASE("the trained model is the same, byte for byte, whatever the line ends") {
  const auto trained_on = [&](const std::string& corpus, const std::string& questions) {
    must_run(folder(), "finetune vanilla " + corpus + " --finetune_corpus_path " + questions + train);
    return io::read_safetensors(folder() / "new").find("head.weight").to_vector<float>();
  };
  write_odd({"", "corpus.txt"}, read_as_meant()[0]);
  write_odd({"", "train.tsv"}, read_as_meant()[1]);
  CHECK(trained_on("crlf.corpus.txt", "cr.train.tsv") == trained_on("corpus.txt", "train.tsv"));
}

TEST_CASE("a run goes on with the same text in other line ends, and not with another") {
  write_odd({"", "corpus.txt"}, read_as_meant()[0]);
  const std::string line = " --checkpoint_every 1 --max_epochs 2 --writing_params_path resumed" + tiny;
  must_run(folder(), "pretrain vanilla corpus.txt" + line);
  CHECK(has(run_program(folder(), words("pretrain vanilla crlf.corpus.txt --resume" + line)).err, "nothing to resume"));
  folder().write("edited.txt", io::read_file(folder() / "corpus.txt") + "A line more, of a few known letters\n");
  CHECK(run_program(folder(), words("pretrain vanilla edited.txt --resume" + line)).status == 2);
}

TEST_CASE("questions are read alike by all who read them") {
  const std::string questions = io::read_file(folder() / "held_out.tsv");
  const std::size_t second = questions.find('\n') + 1, tab = questions.find('\t', second);
  const struct {
    std::string name, bytes, said;
  } table[] = {
      {"blank_between", std::string(questions).insert(second, "\n"),
       "line 2: the line is blank, and others follow: delete it"},
      {"spaces", std::string(questions).replace(tab, 1, "    "),
       "line 2: no tab between question and place (4 spaces stand there)"},
      {"all_spaces", replaced(questions, "\t", "    "),
       "line 1: no tab between question and place (4 spaces stand there)"},
      {"three_columns", std::string(questions).insert(tab, "\tmore"), "line 2: more than one tab"},
      {"no_place", std::string(questions).erase(tab, questions.find('\n', tab) - tab), "line 2: no tab"},
      {"zero_width", std::string(questions).insert(questions.find('\n', tab), "\u200b"),
       "line 2: a character that nobody sees, U+200B, is in the place"},
      {"quoted", "\"" + std::string(questions).insert(questions.find('\t'), "\""),
       "line 1: the question stands in quotation marks"},
      {"commas", replaced(questions, "\t", ","), "line 1: no tab between question and place (',' stands there)"},
      {"end_mark", questions + "\x1a", ": no tab between question and place: '\\u001a'"},
  };
  for (const auto& row : table) {
    CAPTURE(row.name);
    folder().write(row.name, row.bytes);
    for (const Reader& reader : readers()) {
      if (!reader.reads.ends_with(".tsv")) continue;
      CAPTURE(reader.line);
      const Outcome outcome = run_program(folder(), words(about(reader.line, row.name)));
      CHECK(outcome.status == 3);
      CHECK(line_count(outcome.err) == 1);
      CHECK_MESSAGE(has(outcome.err, row.said), outcome.err);
    }
  }
}

TEST_CASE("as many predictions as questions") {
  const std::string questions = io::read_file(folder() / "held_out.tsv");
  const auto predictions = [&](const std::string& bytes) {
    folder().write("asked", bytes);
    const Outcome outcome =
        run_program(folder(), words(about("evaluate vanilla --eval_corpus_path FILE" + plain, "asked")));
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
    return std::pair(io::read_file(folder() / "out"), outcome.err);
  };
  const std::string usual = predictions(questions).first;
  CHECK(line_count(usual) == line_count(questions));
  const auto [with_blanks, said] = predictions(questions + "\n \n");
  CHECK(with_blanks == usual);
  CHECK(has(said, "note: asked: 2 blank lines at its end are skipped\n"));
  CHECK(predictions(questions.substr(0, questions.size() - 1)).first == usual);
  CHECK(has(predictions(replaced(questions, "\n", "\u00a0\n")).second,
            "note: asked: spaces around question or place are left out in "));
}

TEST_CASE("texts come from pipes too, each opened once") {
  const auto check = [&](const std::string& line) {
    CAPTURE(line);
    const Outcome outcome = run_shell(folder(), line);
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
    return outcome.out;
  };
  const auto through_pipe = [&](const Reader& reader) {
    return check("cat " + reader.reads + " | timeout 60 gradus " + about(reader.line, "/dev/stdin"));
  };
  for (const Reader& reader : readers()) {
    const std::string usual = run_program(folder(), words(about(reader.line, reader.reads))).out;
    CHECK(replaced(through_pipe(reader), "/dev/stdin", reader.reads) == usual);
  }
  check(
      "mkfifo first second && (cat corpus.txt > first & cat train.tsv > second & timeout 60 gradus finetune vanilla "
      "first "
      "--finetune_corpus_path second" +
      train + ")");
  CHECK(check("printf '\\357\\273\\277A\\r\\n' | gradus sample model --prompt - --max_new 3 --temperature 0") ==
        check("printf 'A\\n' | gradus sample model --prompt - --max_new 3 --temperature 0"));
}

TEST_CASE("a corpus that is one line is warned about") {
  folder().write("one_line.txt", replaced(io::read_file(folder() / "corpus.txt"), "\n", " "));
  const Outcome outcome = run_program(folder(), words("pretrain vanilla one_line.txt" + train));
  CHECK(outcome.status == 0);
  CHECK(has(outcome.err, "warning: one_line.txt: 1 document of "));
  CHECK(has(outcome.err, " characters, of which at most 84 are ever read: a document is a line\n"));
}
