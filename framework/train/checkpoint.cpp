#include "framework/train/checkpoint.h"

#include <algorithm>

#include "framework/io/checksum.h"
#include "framework/io/json.h"
#include "framework/io/safetensors.h"
#include "framework/kernels/cpu/arithmetic.h"

namespace gradus::train {
namespace {

constexpr const char* format = "gradus-checkpoint-2";
/// As the second, but its checksum covers the tensors alone, and checksums in its settings are of the older kind.
constexpr const char* earlier_format = "gradus-checkpoint-1";
const std::string parameter_prefix = "parameter.";

struct State {
  Position position;
  std::int64_t optimizer_step = 0;
  Generator generator{0};
};

/// Throws DataError where a value is missing, of another type, or contradicts another.
State read_state(const std::string& text, const std::string& path) {
  const nlohmann::json json = io::parse_json(text, path + ": its state");
  const auto require = [&](bool good, const std::string& what) {
    if (!good) fail<DataError>("{}: its state is damaged: {}", path, what);
  };
  require(json.is_object(), "not a JSON object");
  const auto value_of = [&](const char* name) { return json.value(name, nlohmann::json()); };
  const auto natural = [&](const char* name) {
    const nlohmann::json value = value_of(name);
    require(value.is_number_unsigned(), fmt::format("{} must be a whole number from 0 on, not {}", name, io::brief(value)));
    return value.get<std::uint64_t>();
  };
  const auto count = [&](const char* name) {
    const std::uint64_t value = natural(name);
    require(value <= INT64_MAX, fmt::format("{} is too large: {}", name, value));
    return static_cast<std::int64_t>(value);
  };
  const auto number = [&](const char* name) {
    const nlohmann::json value = value_of(name);
    require(value.is_number(), fmt::format("{} must be a number, not {}", name, io::brief(value)));
    return value.get<double>();
  };
  State state = {{.epoch = count("epoch"), .batch = count("batch"), .step = count("step"), .tokens = count("tokens"),
                  .seconds = number("seconds"), .last_loss = number("last_loss"),
                  .total_steps = json.contains("total_steps") ? count("total_steps") : 0},
                 count("optimizer_step"),
                 Generator(natural("seed"), natural("next_stream"))};
  require(state.optimizer_step == state.position.step,
          fmt::format("{} steps are done, the optimizer has made {}", state.position.step, state.optimizer_step));
  require(state.position.seconds >= 0, "the time spent is negative");
  const std::int64_t step = state.position.step;
  try {  // older checkpoints have none of these
    if (json.contains("losses")) state.position.losses = LossCurve::from_state(json["losses"], step, path);
    if (json.contains("best")) state.position.best = BestEvaluation::from_state(json["best"], step, path);
    if (json.contains("unevaluated")) {
      const std::string line = json["unevaluated"].get<std::string>();
      state.position.unevaluated = io::parse_json<nlohmann::ordered_json>(line, path + ": its state: unevaluated");
    }
  } catch (const nlohmann::json::exception& error) {
    require(false, io::reason_of(error));
  }
  return state;
}

/// Checksums of two kinds cannot tell whether they are of the same data.
bool are_incomparable(const nlohmann::json& earlier, const nlohmann::json& now) {
  const auto is_hexadecimal = [](const nlohmann::json& value, std::size_t digits) {
    return value.is_string() && value.get_ref<const std::string&>().size() == digits &&
           value.get_ref<const std::string&>().find_first_not_of("0123456789abcdef") == std::string::npos;
  };
  return is_hexadecimal(earlier, 16) && is_hexadecimal(now, io::checksum_digits);
}

const std::string cuda_arithmetic = "CUDA";

std::string arithmetic_of(Device device) { return device == Device{} ? cpu::describe_arithmetic() : cuda_arithmetic; }

/// A notice where a run goes on with another arithmetic; throws UsageError where that is not accepted. Who moves a run to
/// another kind of device knows it.
std::string difference_of_bits(const std::string& path, const std::string& before, const std::string& now, bool accepted) {
  if (before == now) return "";
  if (!accepted && before != cuda_arithmetic && now != cuda_arithmetic) {
    fail<UsageError>("{}: cannot resume bit for bit with another arithmetic: it was {}, now it is {}; --other_arithmetic accepts other bits", path,
                     before, now);
  }
  return fmt::format("{}: computed by {} so far, by {} from here on: the result's last bits are neither's", path, before, now);
}

}  // namespace

std::string settings_text(const nlohmann::json& settings) {
  return settings.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void save_checkpoint(const std::string& path, const nn::Module& model, const optim::AdamW& optimizer, const Generator& generator,
                     const Position& position, const nlohmann::json& settings,
                     const std::map<std::string, std::string>& notes) {
  io::SafetensorsFile file;
  const nlohmann::json state = {{"epoch", position.epoch}, {"batch", position.batch}, {"step", position.step},
                                {"tokens", position.tokens}, {"seconds", position.seconds},
                                {"last_loss", position.last_loss}, {"total_steps", position.total_steps},
                                {"optimizer_step", optimizer.step_count()},
                                {"seed", generator.seed()}, {"next_stream", generator.next_stream()},
                                {"losses", position.losses.state()}, {"best", position.best.state()},
                                {"unevaluated", position.unevaluated.dump()}};
  file.metadata = {{"format", format},
                   {"state", state.dump()},
                   {"settings", settings_text(settings)},
                   {"arithmetic", arithmetic_of(model.device())}};
  file.metadata.insert(notes.begin(), notes.end());
  for (const auto& [name, tensor] : model.named_parameters()) file.tensors.emplace_back(parameter_prefix + name, tensor);
  for (const auto& [name, tensor] : optimizer.state()) file.tensors.emplace_back(name, tensor);
  io::write_safetensors(path, file);
}

bool is_checkpoint(const std::map<std::string, std::string>& metadata) {
  const auto found = metadata.find("format");
  return found != metadata.end() && (found->second == format || found->second == earlier_format);
}

bool is_checkpoint(const std::string& path) {
  try {
    return is_checkpoint(io::read_safetensors(path).metadata);
  } catch (const DataError&) {
    return false;
  }
}

void require_verified(const io::SafetensorsFile& file, const std::string& path) {
  if (file.require("format", path) == format && file.verified != io::Verified::everything)
    fail<DataError>("{}: its checksum is missing: the file is damaged", path);
}

Summary summarize(const std::map<std::string, std::string>& metadata, const std::string& path) {
  if (!is_checkpoint(metadata)) fail<DataError>("{}: not a checkpoint of this program", path);
  const auto text = [&](const char* key) -> const std::string& {
    const auto found = metadata.find(key);
    if (found == metadata.end()) fail<DataError>("{}: the checkpoint has no {}: it is damaged", path, key);
    return found->second;
  };
  return {read_state(text("state"), path).position, io::parse_json(text("settings"), path + ": its settings")};
}

std::string describe(const std::map<std::string, std::string>& metadata, const std::string& path) {
  const Position position = summarize(metadata, path).position;
  const std::string of_all = position.total_steps > 0 ? fmt::format(" of {}", position.total_steps) : "";
  return fmt::format("{}: a checkpoint after step {}{}", path, position.step, of_all);
}

nn::NamedTensors parameters_of(const io::SafetensorsFile& file) {
  nn::NamedTensors parameters;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(parameter_prefix)) parameters.emplace_back(name.substr(parameter_prefix.size()), tensor);
  }
  return parameters;
}

void require_same_settings(const std::string& path, const nlohmann::json& saved, const nlohmann::json& settings) {
  if (!saved.is_object() && !saved.is_null()) fail<DataError>("{}: its settings are damaged: not a JSON object", path);
  std::string differences;
  for (const auto& [name, value] : settings.items()) {
    if (saved.contains(name) && are_incomparable(saved[name], value)) continue;
    if (saved.contains(name) && settings_text(saved[name]) == settings_text(value)) continue;
    differences += fmt::format("{}another {}: it was {}, now it is {}", differences.empty() ? "" : "; ", name,
                               saved.contains(name) ? io::brief(saved[name]) : "absent", io::brief(value));
  }
  if (!differences.empty()) fail<UsageError>("{}: cannot resume with {}", path, differences);
  for (const auto& [name, value] : saved.items()) {
    if (!settings.contains(name))
      fail<UsageError>("{}: cannot resume without {}: the run that it is of had it as {}", path, name, io::brief(value));
  }
}

LoadedCheckpoint load_checkpoint(const std::string& path, const nn::Module& model, optim::AdamW& optimizer, Generator& generator,
                                 const nlohmann::json& settings, bool other_arithmetic) {
  const io::SafetensorsFile file = io::read_safetensors(path);
  const std::string& found = file.require("format", path);
  if (found != format && found != earlier_format) fail<DataError>("{}: not a checkpoint of this program", path);
  require_verified(file, path);
  const State state = read_state(file.require("state", path), path);
  const nlohmann::json saved = io::parse_json(file.require("settings", path), path + ": its settings");
  require_same_settings(path, saved, settings);
  const std::string notice =
      found == earlier_format
          ? path + ": of an earlier version: damage to it, other training data and another arithmetic could go unseen"
          : difference_of_bits(path, file.require("arithmetic", path), arithmetic_of(model.device()), other_arithmetic);
  io::require_finite(path, file);
  nn::NamedTensors parameters, moments;
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.starts_with(parameter_prefix)) moments.emplace_back(name, tensor);
  }
  nn::load_parameters(model, parameters_of(file), path);
  optimizer.load_state(moments, state.optimizer_step, path);
  generator = state.generator;
  return {state.position, notice};
}

}  // namespace gradus::train
