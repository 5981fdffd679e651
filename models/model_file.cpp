#include "models/model_file.h"

#include "framework/base/plural.h"
#include "framework/data/utf8.h"
#include "framework/io/json.h"
#include "framework/io/safetensors.h"
#include "framework/train/checkpoint.h"

namespace gradus::models {
namespace {

constexpr const char* format = "gradus-model-2";
/// As the second, but its checksum, where there is one, need not cover the metadata.
constexpr const char* earlier_format = "gradus-model-1";

}  // namespace

std::map<std::string, std::string> describe_model(const Gpt& model, const data::Vocabulary& vocabulary) {
  return {{"variant", to_string(model.config().variant)},
          {"config", nlohmann::json(model.config()).dump()},
          {"vocabulary", data::encode_utf8(vocabulary.characters())}};
}

void save_model(const std::string& path, const Gpt& model, const data::Vocabulary& vocabulary,
                const std::map<std::string, std::string>& notes) {
  io::SafetensorsFile file;
  file.metadata = describe_model(model, vocabulary);
  file.metadata["format"] = format;
  file.metadata.insert(notes.begin(), notes.end());
  file.tensors = model.named_parameters();
  io::write_safetensors(path, file);
}

LoadedModel load_model(const std::string& path, const std::string& variant, std::uint64_t seed, DType dtype) {
  const io::SafetensorsFile file = io::read_safetensors(path);
  std::string notice = io::verification_notice(path, file.verified);
  nn::NamedTensors weights = file.tensors;
  if (train::is_checkpoint(file.metadata)) {
    train::require_verified(file, path);
    const std::string what = train::describe(file.metadata, path);
    if (!file.metadata.contains("config"))
      fail<DataError>("{}, written by an older version: without configuration and vocabulary it is no model; it can be resumed", what);
    notice = what + ", used as a model" + (notice.empty() ? "" : "; " + notice);
    weights = train::parameters_of(file);
  } else {
    const std::string& found = file.require("format", path);
    if (found != format && found != earlier_format) fail<DataError>("{}: not a model file of this program (its format is {})", path, io::in_quotes(found));
    if (found == format && file.verified != io::Verified::everything) fail<DataError>("{}: its checksum is missing: the file is damaged", path);
  }
  if (!variant.empty() && file.require("variant", path) != variant) {
    fail<DataError>("{}: holds a model of the variant '{}', not '{}'", path, file.metadata.at("variant"), variant);
  }
  GptConfig config;
  try {
    config = io::parse_json(file.require("config", path), path + ": its configuration").get<GptConfig>();
    config.validate();
  } catch (const nlohmann::json::exception& error) {
    fail<DataError>("{}: its configuration is damaged: {}", path, io::reason_of(error));
  } catch (const UsageError& error) {
    fail<DataError>("{}: its configuration is damaged: {}", path, error.what());
  }
  if (to_string(config.variant) != file.require("variant", path)) {
    fail<DataError>("{}: its configuration is damaged: it describes the variant '{}', the file is said to hold '{}'", path,
                    to_string(config.variant), file.metadata.at("variant"));
  }
  data::Vocabulary vocabulary = data::Vocabulary::from_characters(data::decode_utf8(file.require("vocabulary", path), path), path);
  if (vocabulary.size() != config.vocabulary_size) {
    fail<DataError>("{}: its vocabulary has {}, its configuration says {}", path, plural(vocabulary.size(), "character"), config.vocabulary_size);
  }
  std::int64_t stored = 0;
  for (const auto& [name, tensor] : weights) stored += tensor.numel();
  const double described = config.parameter_count() + config.constant_count();
  if (described > 2 * double(stored) + 1e6) {  // before memory is asked for that the file does not warrant
    fail<DataError>("{}: its configuration is damaged: it describes {:.0f} numbers, the file holds {}", path, described,
                    stored);
  }
  auto model = std::make_unique<Gpt>(config, seed, dtype);
  nn::load_parameters(*model, weights, path);
  io::require_finite(path, file);
  return {std::move(model), std::move(vocabulary), file.metadata, notice};
}

}  // namespace gradus::models
