#include "tools/settings.h"

#include <algorithm>
#include <sstream>

#include "framework/base/error.h"
#include "framework/data/text_file.h"
#include "framework/data/utf8.h"
#include "framework/io/json.h"
#include "tools/options.h"

namespace gradus::tools {
namespace {

std::string underscored(std::string name) {
  std::ranges::replace(name, '-', '_');
  return name;
}

}  // namespace

Settings settings_of(const nlohmann::ordered_json& object, const std::string& path) {
  Settings settings;
  for (const auto& [key, value] : object.items()) {
    if (value.is_structured() || value.is_null())
      fail<DataError>("{}: the value of '{}' must be a number, a string or a boolean", path, key);
    settings.emplace_back(underscored(key), value.is_string() ? value.get<std::string>() : value.dump());
  }
  return settings;
}

std::string read_settings_text(const std::string& path) {
  const data::TextFile file = data::load_text(path);
  print_notices(file.notices);
  return data::encode_utf8(file.text);
}

Settings read_config(const std::string& path) {
  const std::string text = read_settings_text(path);
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '{') {
    return settings_of(io::parse_json<nlohmann::ordered_json>(text, path), path);
  }
  Settings settings;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = line.substr(0, line.find('#'));
    const auto trim = [](std::string part) {
      part.erase(0, part.find_first_not_of(" \t\r\""));
      part.erase(part.find_last_not_of(" \t\r\"") + 1);
      return part;
    };
    if (trim(line).empty()) continue;
    const auto equals = line.find('=');
    if (equals == std::string::npos) fail<DataError>("{}: line {}: expected key = value", path, number);
    const std::string key = underscored(trim(line.substr(0, equals)));
    if (std::ranges::any_of(settings, [&](const auto& setting) { return setting.first == key; }))
      fail<DataError>("{}: line {}: '{}' is there twice", path, number, key);
    settings.emplace_back(key, trim(line.substr(equals + 1)));
  }
  return settings;
}

}  // namespace gradus::tools
