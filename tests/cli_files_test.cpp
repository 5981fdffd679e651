// The program and files that lie: damaged, foreign, bottomless or not its own, they end in a sentence and the right status.
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>
#include <thread>

#include "framework/io/files.h"
#include "tests/workplace.h"

namespace {

/// A copy of the workplace's model, altered, and whole again.
void write_altered(const std::string& name, const std::function<void(io::SafetensorsFile&)>& change) {
  const TemporaryFolder& folder = workplace();
  io::SafetensorsFile file = io::read_safetensors(folder / "model");
  change(file);
  io::write_safetensors(folder / name, file);
}

const std::string scored = "evaluate vanilla --eval_corpus_path held_out.tsv --outputs_path new --reading_params_path ";
const std::string finetuned = finetune + " --finetune_corpus_path train.tsv --reading_params_path ";

std::string nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("a model whose weights are not finite answers nothing: status 4, tensor and element") {
  std::vector<Refusal> table;
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    const std::string name = fmt::format("with{}.params", value), said = fmt::format("{}: tensor 'ln_f.weight' holds {} at (2)", name, value);
    write_altered(name, [&](io::SafetensorsFile& file) { static_cast<float*>(file.find("ln_f.weight").bytes())[2] = value; });
    for (const std::string& line : {scored + name, finetuned + name, "sample --prompt A " + name}) table.push_back({line, 4, said});
    const Outcome shown = run_program(workplace(), {"inspect", name});
    CHECK(shown.status == 0);
    CHECK(has(shown.out, "(16)  1 not finite"));
    CHECK(has(shown.out, "1 elements are NaN or infinite"));
  }
  check_refusals(table);
}

TEST_CASE("files of other programs are named for what they are, by every command that reads a model") {
  const TemporaryFolder& folder = workplace();
  folder.write("torch.params", std::string("PK\x03\x04\0\0\x08\x08\0\0", 10) + std::string(16, '\1') + std::string("\x10\0\0\0", 4) + "archive/data.pkl\x80\x02}q.");
  folder.write("pickle.params", "\x80\x02}q.");
  folder.write("lfs.params", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n");
  folder.write("page.params", "<!doctype html>\n<title>404</title>\n");
  folder.write("config_only.params", "{\"width\": 16}\n");
  std::vector<Refusal> table;
  for (const auto& [name, kind] : std::map<std::string, std::string>{{"torch", "a PyTorch file: load it there and write it with safetensors.torch.save_file"},
                                                                     {"pickle", "a Python pickle"},
                                                                     {"lfs", "a Git LFS pointer, not the file itself: `git lfs pull` fetches it"},
                                                                     {"page", "a web page"},
                                                                     {"config_only", "a text"}}) {
    const std::string said = name + ".params: not a safetensors file but " + kind;
    for (const std::string& line : {scored, finetuned, std::string("sample --prompt A "), std::string("inspect ")}) table.push_back({line + name + ".params", 3, said});
  }
  check_refusals(table);
}

TEST_CASE("every dtype of the format is shown, and one that is not supported is refused as a model") {
  const TemporaryFolder& folder = workplace();
  const std::string header = R"({"t":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]}})";
  folder.write("eight.safetensors", std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header + "1234");
  const Outcome shown = run_program(folder, words("inspect eight.safetensors"));
  CHECK(shown.status == 0);
  CHECK(has(shown.out, "F8_E4M3 (2,2)"));
  CHECK(has(shown.err, "note: eight.safetensors: without a checksum"));
  check_refusals({{scored + "eight.safetensors", 3, "tensor 't' has the dtype F8_E4M3, which is not supported"}});
}

TEST_CASE("JSON nested without end is refused wherever it is read") {
  const TemporaryFolder& folder = workplace();
  folder.write("deep.json", R"({"pretrain": )" + nested(100000) + "}");
  folder.write("deep.conf", R"({"seed": )" + nested(100000) + "}");
  folder.write("twice.json", R"({"seed": 1, "seed": 2})");
  write_altered("deep.params", [](io::SafetensorsFile& file) { file.metadata["config"] = nested(100000); });
  write_altered("deep_width.params", [](io::SafetensorsFile& file) { file.metadata["config"] = R"({"vocabulary_size": )" + nested(100000) + "}"; });
  write_altered("new.settings", [](io::SafetensorsFile& file) { file.metadata["settings"] = nested(100000); });
  check_refusals({
      {pretrain + " --recipe deep.json", 3, "deep.json: nested too deeply"},
      {pretrain + " --config deep.conf", 3, "deep.conf: nested too deeply"},
      {pretrain + " --config twice.json", 3, "twice.json: the key 'seed' is there twice"},
      {"sample --prompt A deep.params", 3, "deep.params: its configuration: nested too deeply"},
      {scored + "deep_width.params", 3, "deep_width.params: its configuration: nested too deeply"},
      {"pretrain vanilla corpus.txt --writing_params_path new.settings --checkpoint new --resume" + tiny, 3, "new.settings: its settings: nested too deeply"},
  });
}

TEST_CASE("numbers that together are too large are refused before anything is made") {
  check_refusals({
      {pretrain + " --max_epochs 8999999999999999" + tiny, 2, "too many"},
      {pretrain + " --max_epochs 8999999999999999 --max_steps 2" + tiny, 2, "too many"},
      {pretrain + " --max_epochs 8999999999999 --final_tokens 10000" + tiny, 2, "too many tokens: 8999999999999 times "},
      {pretrain + " --final_tokens 999999999999999epochs" + tiny, 2, "expected a number of tokens"},
      {pretrain_text + " --max_epochs 8999999999999999 --layers 1 --heads 2 --width 16", 2, "too many"},
      {pretrain + " --layers 16000000", 2, "a model of 1.26e+13 parameters does not fit into this machine's memory"},
      {pretrain + " --width 16777216 --heads 2", 2, "does not fit into this machine's memory"},
      {pretrain + " --layers 8000000000000000", 2, "layers must be at most 16777216"},
      {pretrain + " --batch_size 99999999999999999", 2, "is not a whole number, or too large"},
  });
}

TEST_CASE("what has no end is read to its limit, and named") {
  const TemporaryFolder& folder = workplace();
  folder.write("sparse.txt", "");
  REQUIRE(::truncate((folder / "sparse.txt").c_str(), std::int64_t{1} << 42) == 0);
  folder.write("sparse.params", std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
  REQUIRE(::truncate((folder / "sparse.params").c_str(), std::int64_t{1} << 42) == 0);
  std::filesystem::create_symlink("circle", folder / "circle");
  check_refusals({
      {"pretrain vanilla sparse.txt --writing_params_path new", 3, "sparse.txt: holds 4,194,304 MiB, at most 2,048 MiB are read"},
      {"pretrain vanilla /dev/zero --writing_params_path new", 3, "/dev/zero: has no end within 256 MiB"},
      {"sample --prompt A sparse.params", 3, "sparse.params: 4398046511088 bytes follow the last tensor"},
      {"sample --prompt A /dev/zero", 3, "/dev/zero: has no end within 256 MiB"},
      {pretrain + " --config /dev/zero", 3, "/dev/zero: has no end within 256 MiB"},
      {pretrain + " --recipe circle", 3, "circle: cannot be read: Too many levels of symbolic links"},
      {"demo --keep circle", 1, "circle"},
  });
  const Outcome piped = run_shell(folder, "yes | gradus pretrain vanilla /dev/stdin --writing_params_path new");
  CHECK(piped.status == 3);
  CHECK(has(piped.err, "/dev/stdin: has no end within 256 MiB, more is not read of a pipe or device: give a file"));
}

TEST_CASE("an output that is a link is written through; a device, a trap are not") {
  const TemporaryFolder& folder = workplace();
  folder.write("linked.json", "old");
  std::filesystem::create_symlink("linked.json", folder / "link.json");
  must_run(folder, "inspect model --json link.json");
  CHECK(std::filesystem::is_symlink(folder / "link.json"));
  CHECK(nlohmann::json::parse(io::read_file(folder / "linked.json")).at("kind") == "safetensors");

  std::filesystem::create_symlink("and_back", folder / "to_there");
  std::filesystem::create_symlink("to_there", folder / "and_back");
  check_refusals({
      {"inspect model --json /proc/self/fd/1", 2, "/proc/self/fd/1: is not a regular file"},
      {"inspect model --json to_there", 2, "to_there: cannot be written: Too many levels of symbolic links"},
      {"inspect model --json new/", 2, "new/: the folder new does not exist"},
      {"inspect model --json /dev/full", 2, "/dev/full: is not a regular file"},
  });
  // Temporaries of every process that could be next, as links to what must not be written.
  folder.write("victim", "precious");
  REQUIRE(run_shell(folder, "for i in $(seq 1 300); do ln -s victim trapped.json.$(($$ + i)).partial; done; exec gradus inspect model --json trapped.json").status == 0);
  CHECK(io::read_file(folder / "victim") == "precious");
  CHECK(!std::filesystem::is_symlink(folder / "trapped.json"));
}

TEST_CASE("a folder for temporary files that is not there is a sentence") {
  const Outcome outcome = run_program(workplace(), words("demo"), {"TMPDIR=/nonexistent"});
  CHECK(outcome.status == 2);
  CHECK(has(outcome.err, "gradus: TMPDIR: /nonexistent is no folder for temporary files"));
}

TEST_CASE("a checkpoint is resumed on the data and with the arithmetic that it began with") {
  const TemporaryFolder& folder = workplace();
  const std::string corpus = io::read_file(folder / "corpus.txt"), line = "pretrain-text text.txt --layers 1 --heads 2 --width 16 --block_size 16 --batch_size 4"
                                                                         " --progress plain --threads 1 --writing_params_path long --checkpoint_every 1 --max_steps ";
  folder.write("text.txt", corpus);
  {
    Program run(folder, gradus_command(words(line + "1000000")));
    for (int wait = 0; wait < 3000 && !std::filesystem::exists(folder / "long.checkpoint"); ++wait) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }  // killed
  REQUIRE(std::filesystem::exists(folder / "long.checkpoint"));
  const nlohmann::json state = nlohmann::json::parse(io::read_safetensors(folder / "long.checkpoint").metadata.at("state"));
  const std::string resume = line + std::to_string(state.at("step").get<int>() + 2) + " --resume";

  const std::string arithmetic = io::read_safetensors(folder / "long.checkpoint").metadata.at("arithmetic");
  const bool is_openblas = has(arithmetic, "OpenBLAS");  // of other libraries no variable is known
  const std::vector<std::string> elsewise = {has(arithmetic, "Nehalem") ? "OPENBLAS_CORETYPE=Prescott" : "OPENBLAS_CORETYPE=Nehalem"};
  if (is_openblas) {
    const Outcome other = run_program(folder, words(resume), elsewise);
    CHECK(other.status == 2);
    CHECK(has(other.err, "gradus: long.checkpoint: cannot resume bit for bit with another arithmetic: it was " + arithmetic + ", now it is "));
  }
  std::string edited = corpus;
  edited[edited.rfind('e')] = 'a';
  folder.write("text.txt", edited);
  const Outcome elsewhere = run_program(folder, words(resume));
  CHECK(elsewhere.status == 2);
  CHECK(has(elsewhere.err, "cannot resume with another training data"));
  folder.write("text.txt", corpus);
  const Outcome accepted = run_program(folder, words(resume + " --other_arithmetic"), elsewise);
  CHECK_MESSAGE(accepted.status == 0, accepted.err);
  CHECK(has(accepted.err, "note: long.checkpoint: computed by ") == is_openblas);
}
