// Names that would set a terminal's title, clear its screen or fake a line, in every place that the program prints
// from: none of their bytes arrives as it is.
#include "framework/base/unicode.h"
#include "framework/data/utf8.h"
#include "tests/workplace.h"

namespace {

/// What does what it says on most terminals, and a line that was never printed.
const std::string hostile = "\x1b]0;title\x07\x1b[2J\u009b31m\u202egpj\u2028\x7f\rgradus: all is well";

/// The first control in what was printed that is neither a newline nor a tab, as a number; or what is not UTF-8.
std::string raw_control(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto [character, length] = utf8_character_at(text, at);
    if (length == 0) return fmt::format("the byte {:#04x}", static_cast<unsigned char>(text[at]));
    if (is_control(character) && character != U'\n' && character != U'\t') return data::describe_character(character);
    at += length;
  }
  return "none";
}

Outcome check_printable(const TemporaryFolder& folder, const std::vector<std::string>& arguments,
                        const std::vector<std::string>& environment = {}) {
  const Outcome outcome = run_program(folder, arguments, environment);
  CAPTURE(arguments[0]);
  CAPTURE(outcome.out);
  CAPTURE(outcome.err);
  CHECK(raw_control(outcome.out) == "none");
  CHECK(raw_control(outcome.err) == "none");
  CHECK(has(outcome.out + outcome.err, "\\u001b]0;title\\u0007\\u001b[2J\\u009b31m\\u202egpj\\u2028\\u007f"));
  return outcome;
}

std::string without_notes(std::string text) {
  while (text.starts_with("note: ")) text.erase(0, text.find('\n') + 1);
  return text;
}

/// Of a refusal: the name is shown, in one line.
void check_refused(const std::vector<std::string>& arguments, int status,
                   const std::vector<std::string>& environment = {}) {
  const Outcome outcome = check_printable(workplace(), arguments, environment);
  CAPTURE(arguments.back());
  CHECK(outcome.status == status);
  const std::string said = without_notes(outcome.err);
  CHECK(line_count(said) == 1);
  CHECK(said.starts_with("gradus: "));
}

const std::string lines = "\ngradus: " + hostile + "\n";

/// A model whose characters are mostly controls.
const TemporaryFolder& with_model_of_controls() {
  const TemporaryFolder& folder = workplace();
  io::SafetensorsFile model = io::read_safetensors(folder / "model");
  std::u32string vocabulary = data::decode_utf8(model.metadata["vocabulary"], "model");
  for (std::size_t i = 2, control = 1; i < vocabulary.size(); ++i, ++control)
    vocabulary[i] = static_cast<char32_t>(control < 0x20 ? control : 0x5F + control);
  vocabulary.back() = U'a';
  model.metadata["vocabulary"] = data::encode_utf8(vocabulary);
  io::write_safetensors(folder / "controls.params", model);
  return folder;
}

}  // namespace

TEST_CASE("arguments, options and the environment") {
  check_refused({hostile}, 2);
  check_refused({"inspect", "--" + hostile}, 2);
  check_refused({"inspect", "--x" + lines}, 2);
  check_refused({"sample", "model", "--prompt", "a", "--temperature", hostile}, 2);
  check_refused({"sample", "model", "--prompt", "a", "--seed=" + lines}, 2);
  check_refused({"sample", "model", "--prompt", "a", "--device", lines}, 2);
  check_refused({"pretrain", hostile, "corpus.txt", "--writing_params_path", "new"}, 2);
  check_refused({"pretrain", "vanilla", lines, "--writing_params_path", "new"}, 3);
  check_refused({"pretrain", "vanilla", "corpus.txt", "--writing_params_path", "new", "--recipe", lines}, 2);
  check_refused({"gradcheck", "--op", lines}, 2);
  check_refused({"gradcheck", "--lib", lines}, 3);
  check_refused({"sample", "model", "--prompt", "a"}, 2, {"GRADUS_MAX_NEW=" + lines});
}

TEST_CASE("bytes that are no text, as arguments") {
  const Outcome outcome = run_program(workplace(), {"inspect", "caf\xe9\x9b"});
  CHECK(outcome.status == 3);
  CHECK(has(outcome.err, "gradus: caf\\xe9\\x9b: "));
  const std::vector<std::string> train = {"pretrain", "vanilla", "corpus.txt", "--writing_params_path", "new"};
  const auto refusal = [&](std::vector<std::string> arguments, const std::string& flag) {
    arguments.insert(arguments.end(), {flag, "caf\xe9"});
    const Outcome refused = run_program(workplace(), arguments);
    CHECK(refused.status == 2);
    CHECK(refused.err == "gradus: " + flag + ": 'caf\\xe9' is not UTF-8\n");
  };
  refusal(train, "--names_after");
  refusal({"sample", "model"}, "--prompt");
}

TEST_CASE("--print_config shows a value in one line") {
  const Outcome outcome =
      check_printable(workplace(), {"pretrain", "vanilla", "corpus.txt", "--print_config", "--names_after", lines},
                      {"GRADUS_METRICS=" + lines});
  CHECK(outcome.status == 0);
  CHECK(line_count(outcome.out) ==
        line_count(run_program(workplace(), words("pretrain vanilla corpus.txt --print_config")).out));
}

TEST_CASE("settings, recipes and what libraries say of them") {
  const TemporaryFolder& folder = workplace();
  const std::string json = nlohmann::json(lines).dump();
  const std::string in_a_line = hostile.substr(0, hostile.find('\r'));
  folder.write("hostile.conf", "seed = " + in_a_line + "\n");
  folder.write("hostile_key.conf", in_a_line + " = 1\n");
  folder.write("hostile.json", "{" + json + ": 1}");
  folder.write("broken.json", "{\"seed\": \"" + hostile);
  folder.write("recipe.json", "{" + json + ": {}}");
  const auto config = [](const std::string& name) -> std::vector<std::string> {
    return {"sample", "model", "--prompt", "a", "--config", name};
  };
  check_refused(config("hostile.conf"), 2);
  check_refused(config("hostile_key.conf"), 2);
  check_refused(config("hostile.json"), 2);
  CHECK(raw_control(run_program(folder, config("broken.json")).err) == "none");
  check_refused({"pretrain", "vanilla", "corpus.txt", "--writing_params_path", "new", "--recipe", "recipe.json"}, 3);
}

TEST_CASE("names and metadata of tensors") {
  const TemporaryFolder& folder = workplace();
  io::write_safetensors(folder / "hostile.params", {{{lines, lines}}, {{lines, zeros({2})}}});
  for (const std::string json : {"", "--json=-"}) {
    std::vector<std::string> arguments = {"inspect", "hostile.params"};
    if (!json.empty()) arguments.push_back(json);
    CHECK(check_printable(folder, arguments).status == 0);
  }
  CHECK(line_count(run_program(folder, {"inspect", "hostile.params"}).out) == 4);
  check_printable(folder, {"inspect", "hostile.params", "--json", "inspected.json"});
  const std::string written = io::read_file(folder / "inspected.json");
  CHECK(raw_control(written) == "none");
  CHECK(nlohmann::json::parse(written)["tensors"].contains(lines));

  io::SafetensorsFile model = io::read_safetensors(folder / "model");
  model.tensors.emplace_back(lines, zeros({2}));
  io::write_safetensors(folder / "more.params", model);
  check_refused({"sample", "more.params", "--prompt", "a"}, 3);
}

TEST_CASE("what a model says") {
  const TemporaryFolder& folder = with_model_of_controls();
  const Outcome sampled =
      run_program(folder, words("sample controls.params --prompt a --max_new 200 --temperature 9 --json said.json"));
  REQUIRE_MESSAGE(sampled.status == 0, sampled.err);
  CHECK(raw_control(sampled.out) == "none");
  CHECK(has(sampled.out, "\\u00"));
  // Newlines and tabs of a text are its content; the file has the rest exactly.
  CHECK(has(sampled.out, "\t"));
  CHECK(line_count(sampled.out) > 1);
  const nlohmann::json said = nlohmann::json::parse(io::read_file(folder / "said.json"));
  CHECK(has(said["samples"][0].get<std::string>(), "\x1b"));
}

TEST_CASE("what a model answers") {
  const TemporaryFolder& folder = with_model_of_controls();
  folder.write("asked.tsv", "a\tBern\naa\tOslo\naaa\tRome\n");
  const Outcome outcome = run_program(
      folder, words("evaluate vanilla --reading_params_path controls.params --eval_corpus_path asked.tsv --outputs_path "
                    "answers --show_errors 3 --people people --json evaluated.json"));
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(raw_control(outcome.out) == "none");
  CHECK(has(outcome.out, "line 3: aaa expected 'Rome', answered '"));
  for (const std::string file : {"answers", "people", "evaluated.json"})
    CHECK(raw_control(io::read_file(folder / file)) == "none");
  CHECK(line_count(io::read_file(folder / "answers")) == 3);
  CHECK(line_count(io::read_file(folder / "people")) == 4);
}

TEST_CASE("a corpus and its examples") {
  const TemporaryFolder& folder = workplace();
  folder.write("hostile.txt", "A " + hostile + "\nB\n");
  const std::string shown = run_program(folder, words("data charcorruption hostile.txt")).out;
  CHECK(has(shown, "\\u001b"));
  CHECK(raw_control(shown) == "none");
  CHECK(raw_control(run_program(folder, words("inspect hostile.txt")).out) == "none");
}
