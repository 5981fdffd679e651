// Values of options in files.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace gradus::tools {

/// Names of options, with underscores and without dashes, and their values.
using Settings = std::vector<std::pair<std::string, std::string>>;

/// Of a JSON object whose values are numbers, strings or booleans; throws DataError for others.
Settings settings_of(const nlohmann::ordered_json& object, const std::string& path);

/// The text of a file of settings, with LF line ends; what was odd about it is said on standard error.
std::string read_settings_text(const std::string& path);

/// A JSON object, or lines `key = value` with # comments.
Settings read_config(const std::string& path);

}  // namespace gradus::tools
