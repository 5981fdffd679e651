// What the tests of the program share: a folder of good and bad files, and the table of refusals.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "framework/io/safetensors.h"
#include "framework/tensor/creation.h"
#include "tests/messages.h"
#include "tests/program.h"

using namespace gradus;

inline const std::string tiny = " --layers 1 --heads 2 --width 16 --block_size 96 --batch_size 8 --progress off";

inline std::int64_t line_count(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

inline void must_run(const TemporaryFolder& folder, const std::string& line) {
  const Outcome outcome = run_program(folder, words(line));
  REQUIRE_MESSAGE(outcome.status == 0, line, "\n", outcome.err);
}

/// A small invented world, models of it, and everything that a user could give by mistake.
inline const TemporaryFolder& workplace() {
  static TemporaryFolder folder;
  static bool ready = false;
  if (ready) return folder;
  const auto write = [](const std::string& name, const std::string& text) { io::write_file_atomically(folder / name, text); };
  must_run(folder, "world . --train_people 6 --held_out_people 6 --places 4");
  must_run(folder, "pretrain vanilla corpus.txt --writing_params_path model --max_epochs 1" + tiny);

  write("empty", "");
  write("invalid", "one\ntwo\xff\n");
  write("reserved", "one\ntwo ⁇\n");
  write("other.txt", "Quite another corpus.\n");
  write("no_tabs.tsv", "Where was A born?\n");
  write("one_tab.tsv", "Where was A born?\tB\nWhere was C born?\n");
  write("unknown.tsv", "Where was A born?\nWhere was ß born?\n");
  write("long.tsv", "Where was " + std::string(100, 'a') + " born?\ta\n");
  write("bad.json", "{\"seed\": ");
  write("bad.conf", "seed = 1\nno equals sign\n");
  write("foreign.conf", "sed = 1\n");
  std::filesystem::create_directory(folder / "a_folder");

  const std::string bytes = io::read_file(folder / "model");
  write("model.truncated", bytes.substr(0, bytes.size() - 100));
  write("model.header_only", bytes.substr(0, 60));
  std::string flipped = bytes;
  flipped[flipped.size() - 3] ^= 1;
  write("model.flipped", flipped);
  io::write_safetensors(folder / "foreign.safetensors", {{}, {{"weight", zeros({2, 3})}}});
  const auto altered = [&](const std::string& name, const std::function<void(io::SafetensorsFile&)>& change) {
    io::SafetensorsFile file = io::read_safetensors(folder / "model");
    change(file);
    io::write_safetensors(folder / name, file);
  };
  altered("model.rope", [](io::SafetensorsFile& file) { file.metadata["variant"] = "rope"; });
  altered("model.no_config", [](io::SafetensorsFile& file) { file.metadata["config"] = "{}"; });
  altered("model.huge", [](io::SafetensorsFile& file) {
    nlohmann::json config = nlohmann::json::parse(file.metadata["config"]);
    config["width"] = config["heads"].get<int>() * 100000;
    file.metadata["config"] = config.dump();
  });
  altered("model.smaller", [](io::SafetensorsFile& file) { file.tensors.pop_back(); });
  altered("model.misshapen", [](io::SafetensorsFile& file) { file.tensors.front().second = zeros({1, 2}); });
  write("damaged.checkpoint", bytes.substr(0, 500));
  ready = true;
  return folder;
}

struct Refusal {
  std::string line;
  int status;
  std::string said;
};

/// One sentence, the right status, nothing half-written.
inline void check_refusals(const std::vector<Refusal>& table) {
  const TemporaryFolder& folder = workplace();
  for (const Refusal& row : table) {
    CAPTURE(row.line);
    const std::vector<std::string> before = folder.names();
    const Outcome outcome = run_program(folder, words(row.line));
    CHECK(outcome.status == row.status);
    CHECK(outcome.err.starts_with("gradus: "));
    CHECK_MESSAGE(has(outcome.err, row.said), "it said: ", outcome.err);
    CHECK(line_count(outcome.err) == 1);
    std::vector<std::string> after = folder.names();
    std::erase_if(after, [&](const std::string& name) { return name.starts_with(".") || std::find(before.begin(), before.end(), name) != before.end(); });
    CHECK_MESSAGE(after.empty(), "it left ", after.empty() ? "" : after[0]);
  }
}

inline const std::string pretrain = "pretrain vanilla corpus.txt --writing_params_path new --max_epochs 1";
inline const std::string pretrain_text = "pretrain-text corpus.txt --writing_params_path new";
inline const std::string finetune = "finetune vanilla corpus.txt --writing_params_path new --max_epochs 1";
inline const std::string evaluate = "evaluate vanilla corpus.txt --outputs_path new";
