// Checkpoint and model files that cannot lie: whatever bit of one is flipped, whatever of its counts contradicts another,
// whatever computes otherwise than before is noticed.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "framework/base/error.h"
#include "framework/io/files.h"
#include "framework/io/safetensors.h"
#include "framework/kernels/cpu/arithmetic.h"
#include "framework/nn/layers.h"
#include "framework/tensor/creation.h"
#include "framework/train/checkpoint.h"
#include "models/gpt/continuation.h"
#include "models/model_file.h"
#include "tests/messages.h"
#include "tests/temporary_folder.h"

using namespace gradus;

namespace {

struct Run {
  explicit Run(std::uint64_t seed) : initializer{Generator(seed)}, model(2, 2, true, initializer), optimizer(model.named_parameters(), {}), generator(seed) {}
  void save(const std::string& path) const {
    train::save_checkpoint(path, model, optimizer, generator, {.epoch = 0, .batch = 0, .step = 0, .tokens = 0}, settings);
  }
  train::LoadedCheckpoint load(const std::string& path, bool other_arithmetic = false) {
    return train::load_checkpoint(path, model, optimizer, generator, settings, other_arithmetic);
  }

  nn::Initializer initializer;
  nn::Linear model;
  optim::AdamW optimizer;
  Generator generator;
  nlohmann::json settings = {{"seed", 1}, {"training data", std::string(32, 'a')}};
};

/// Writes `path` with each of its bits flipped in turn, and has `read` refuse it with a DataError that names it.
template <class Read>
void check_every_bit(const std::string& path, const Read& read) {
  const std::string whole = io::read_file(path);
  read();
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string changed = whole;
    changed[bit / 8] ^= static_cast<char>(1 << bit % 8);
    std::ofstream(path, std::ios::binary) << changed;
    CHECK_MESSAGE(has(message_of<DataError>(read), path + ": "), "bit ", bit);
  }
}

models::Gpt tiny_model() {
  models::GptConfig config{.vocabulary_size = 4, .block_size = 4, .layers = 1, .heads = 1, .width = 2};
  return models::Gpt(config, 1);
}

const data::Vocabulary& letters() {
  static const data::Vocabulary vocabulary = data::Vocabulary::from_text(U"ab", "t");
  return vocabulary;
}

}  // namespace

TEST_CASE("a checkpoint with any flipped bit is refused") {
  const TemporaryFolder folder;
  const std::string path = folder / "c";
  Run run(1);
  run.save(path);
  check_every_bit(path, [&] { run.load(path); });
}

TEST_CASE("a model with any flipped bit is refused") {
  const TemporaryFolder folder;
  const std::string path = folder / "m";
  models::save_model(path, tiny_model(), letters());
  check_every_bit(path, [&] { models::load_model(path, "", 1); });
}

TEST_CASE("a state that contradicts itself is refused, whole as its file may be") {
  const TemporaryFolder folder;
  const std::string path = folder / "c";
  Run run(1);
  run.save(path);
  const io::SafetensorsFile good = io::read_safetensors(path);
  const auto refusal_of = [&](const std::string& key, const nlohmann::json& value) {
    io::SafetensorsFile file = good;
    nlohmann::json state = nlohmann::json::parse(file.metadata.at("state"));
    state[key] = value;
    file.metadata["state"] = state.dump();
    io::write_safetensors(path, file);
    return message_of<DataError>([&] { run.load(path); });
  };
  CHECK(refusal_of("optimizer_step", 1) == path + ": its state is damaged: 0 steps are done, the optimizer has made 1");
  CHECK(has(refusal_of("step", 3), "3 steps are done, the optimizer has made 0"));
  CHECK(has(refusal_of("step", -1), "step must be a whole number from 0 on, not -1"));
  CHECK(has(refusal_of("step", 0.5), "step must be a whole number from 0 on, not 0.5"));
  CHECK(has(refusal_of("step", std::string(5000, 'x')), "step must be a whole number from 0 on, not \"xxx"));
  CHECK(refusal_of("step", std::string(5000, 'x')).size() < 500);
  CHECK(has(refusal_of("tokens", UINT64_MAX), "tokens is too large"));
  CHECK(has(refusal_of("seed", nullptr), "seed must be a whole number from 0 on, not null"));
  CHECK(has(refusal_of("seconds", "long"), "seconds must be a number, not \"long\""));
  CHECK(has(refusal_of("seconds", -1), "the time spent is negative"));
}

TEST_CASE("JSON without end, inside the metadata too, is refused") {
  const TemporaryFolder folder;
  const std::string path = folder / "f", deep = std::string(100000, '[') + std::string(100000, ']');
  std::string deep_objects;
  for (int i = 0; i < 100000; ++i) deep_objects += R"({"width":)";
  Run run(1);
  run.save(path);
  const io::SafetensorsFile checkpoint = io::read_safetensors(path);
  for (const std::string& text : {deep, R"({"step":)" + deep + "}", deep_objects}) {
    for (const char* key : {"state", "settings"}) {
      io::SafetensorsFile file = checkpoint;
      file.metadata[key] = text;
      io::write_safetensors(path, file);
      CHECK(message_of<DataError>([&] { run.load(path); }) == fmt::format("{}: its {}: nested too deeply: at most 127 objects and lists inside each other are read", path, key));
    }
  }
  models::save_model(path, tiny_model(), letters());
  for (const std::string& text : {deep, R"({"width":)" + deep + "}", deep_objects}) {
    io::SafetensorsFile file = io::read_safetensors(path);
    file.metadata["config"] = text;
    io::write_safetensors(path, file);
    CHECK(has(message_of<DataError>([&] { models::load_model(path, "", 1); }), path + ": its configuration: nested too deeply"));
  }
}

TEST_CASE("another arithmetic is refused by name, or accepted with a notice") {
  const TemporaryFolder folder;
  const std::string path = folder / "c";
  Run run(1);
  run.save(path);
  io::SafetensorsFile file = io::read_safetensors(path);
  CHECK(file.metadata.at("arithmetic") == cpu::describe_arithmetic());
  CHECK(run.load(path).notice.empty());
  file.metadata["arithmetic"] = "x86-64; an abacus";
  io::write_safetensors(path, file);
  CHECK(message_of<UsageError>([&] { run.load(path); }) ==
        fmt::format("{}: cannot resume bit for bit with another arithmetic: it was x86-64; an abacus, now it is {}; --other_arithmetic accepts other bits",
                    path, cpu::describe_arithmetic()));
  CHECK(has(run.load(path, true).notice, "computed by x86-64; an abacus so far"));
  file.metadata["arithmetic"] = "CUDA";  // who moves a run to another kind of device knows it
  io::write_safetensors(path, file);
  CHECK(has(run.load(path).notice, "computed by CUDA so far"));
  file.metadata.erase("arithmetic");
  io::write_safetensors(path, file);
  CHECK(has(message_of<DataError>([&] { run.load(path); }), "the metadata has no 'arithmetic'"));
}

TEST_CASE("a checkpoint of an earlier version is read, with a notice, and its checksums of another kind are not compared") {
  const TemporaryFolder folder;
  const std::string path = folder / "c";
  Run run(1);
  run.save(path);
  io::SafetensorsFile file = io::read_safetensors(path);
  file.metadata["format"] = "gradus-checkpoint-1";
  file.metadata["settings"] = R"({"seed":1,"training data":"0123456789abcdef"})";
  file.metadata.erase("arithmetic");
  io::write_safetensors(path, file);
  CHECK(has(run.load(path).notice, path + ": of an earlier version"));
  file.metadata["settings"] = R"({"seed":2,"training data":"0123456789abcdef"})";
  io::write_safetensors(path, file);
  CHECK(has(message_of<UsageError>([&] { run.load(path); }), "cannot resume with another seed: it was 2, now it is 1"));
  file.metadata["settings"] = "[]";
  io::write_safetensors(path, file);
  CHECK(has(message_of<DataError>([&] { run.load(path); }), "its settings are damaged: not a JSON object"));
}

TEST_CASE("weights and moments that are not finite are named, with tensor and element") {
  const TemporaryFolder folder;
  const std::string path = folder / "f";
  const float infinity = std::numeric_limits<float>::infinity();
  models::save_model(path, tiny_model(), letters());
  const io::SafetensorsFile good = io::read_safetensors(path);
  for (const float value : {NAN, infinity, -infinity}) {
    io::SafetensorsFile file = good;
    static_cast<float*>(file.find("head.weight").bytes())[3] = value;
    io::write_safetensors(path, file);
    CHECK(message_of<NumericError>([&] { models::load_model(path, "", 1); }) ==
          fmt::format("{}: tensor 'head.weight' holds {} at (1,1): it is no model that can be used", path, value));
    static_cast<float*>(file.find("head.weight").bytes())[3] = 0;
    io::write_safetensors(path, file);
    models::load_model(path, "", 1);
  }
  Run run(1);
  run.save(path);
  io::SafetensorsFile file = io::read_safetensors(path);
  for (auto& [name, tensor] : file.tensors) {
    if (name == "second_moment.bias") tensor = from_values({2}, std::vector<double>{0, NAN});
  }
  io::write_safetensors(path, file);
  CHECK(has(message_of<NumericError>([&] { run.load(path); }), "tensor 'second_moment.bias' holds nan at (1)"));
}

TEST_CASE("logits that are not finite are not answered from, finite as the weights may be") {
  models::Gpt model = tiny_model();
  model.set_training(false);
  for (const auto& [name, tensor] : model.named_parameters()) {
    if (name != "head.weight" && name != "ln_f.weight") continue;
    std::fill_n(static_cast<float*>(tensor.bytes()), tensor.numel(), std::numeric_limits<float>::max());
  }
  models::Continuation text(model, {{1, 2}});
  CHECK(has(message_of<NumericError>([&] { text.next_logits(); }), "the logits after 2 characters are not finite"));
}
