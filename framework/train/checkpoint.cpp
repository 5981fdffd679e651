#include "framework/train/checkpoint.h"

#include <algorithm>

#include "framework/io/safetensors.h"

namespace gradus::train {
namespace {

constexpr const char* format = "gradus-checkpoint-1";
const std::string parameter_prefix = "parameter.";

/// As text, whatever bytes its strings hold: a path need not be UTF-8.
std::string text_of(const nlohmann::json& json) { return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

}  // namespace

void save_checkpoint(const std::string& path, const nn::Module& model, const optim::AdamW& optimizer, const Generator& generator,
                     const Position& position, const nlohmann::json& settings) {
  io::SafetensorsFile file;
  const nlohmann::json state = {{"epoch", position.epoch}, {"batch", position.batch}, {"step", position.step},
                                {"tokens", position.tokens}, {"seconds", position.seconds},
                                {"last_loss", position.last_loss}, {"optimizer_step", optimizer.step_count()},
                                {"seed", generator.seed()}, {"next_stream", generator.next_stream()},
                                {"losses", position.losses.state()}, {"best", position.best.state()},
                                {"unevaluated", position.unevaluated.dump()}};
  file.metadata = {{"format", format}, {"state", state.dump()}, {"settings", text_of(settings)}};
  for (const auto& [name, tensor] : model.named_parameters()) file.tensors.emplace_back(parameter_prefix + name, tensor);
  for (const auto& [name, tensor] : optimizer.state()) file.tensors.emplace_back(name, tensor);
  io::write_safetensors(path, file);
}

bool is_checkpoint(const std::string& path) {
  try {
    return io::read_safetensors(path).require("format", path) == format;
  } catch (const DataError&) {
    return false;
  }
}

void require_same_settings(const std::string& path, const nlohmann::json& saved, const nlohmann::json& settings) {
  for (const auto& [name, value] : settings.items()) {
    const std::string before = saved.contains(name) ? text_of(saved[name]) : "absent";
    if (before != text_of(value)) {
      fail<UsageError>("{}: cannot resume with another {}: it was {}, now it is {}", path, name, before,
                       text_of(value));
    }
  }
  for (const auto& [name, value] : saved.items()) {
    if (!settings.contains(name))
      fail<UsageError>("{}: cannot resume without {}: the run that it is of had it as {}", path, name, text_of(value));
  }
}

Position load_checkpoint(const std::string& path, const nn::Module& model, optim::AdamW& optimizer, Generator& generator,
                         const nlohmann::json& settings) {
  const io::SafetensorsFile file = io::read_safetensors(path);
  if (file.require("format", path) != format) fail<DataError>("{}: not a checkpoint of this program", path);
  nlohmann::json state, saved;
  Position position;
  std::int64_t optimizer_step = 0;
  Generator saved_generator(0);
  try {
    state = nlohmann::json::parse(file.require("state", path));
    saved = nlohmann::json::parse(file.require("settings", path));
    position = {.epoch = state.at("epoch"), .batch = state.at("batch"), .step = state.at("step"),
                .tokens = state.at("tokens"), .seconds = state.at("seconds"), .last_loss = state.at("last_loss")};
    optimizer_step = state.at("optimizer_step");
    saved_generator = Generator(state.at("seed"), state.at("next_stream"));
    // Older checkpoints have none of these.
    if (state.contains("losses")) position.losses = LossCurve::from_state(state["losses"], position.step, path);
    if (state.contains("best")) position.best = BestEvaluation::from_state(state["best"], position.step, path);
    if (state.contains("unevaluated")) position.unevaluated = nlohmann::ordered_json::parse(state["unevaluated"].get<std::string>());
  } catch (const nlohmann::json::exception& error) {
    fail<DataError>("{}: its state is damaged: {}", path, error.what());
  }
  if (std::min({position.epoch, position.batch, position.step, position.tokens, optimizer_step}) < 0) {
    fail<DataError>("{}: its state is damaged: a count is negative", path);
  }
  require_same_settings(path, saved, settings);
  nn::NamedTensors parameters, moments;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(parameter_prefix)) parameters.emplace_back(name.substr(parameter_prefix.size()), tensor);
    else moments.emplace_back(name, tensor);
  }
  nn::load_parameters(model, parameters, path);
  optimizer.load_state(moments, optimizer_step, path);
  generator = saved_generator;
  return position;
}

}  // namespace gradus::train
