#include "tools/arguments.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <sstream>

#include "framework/base/error.h"
#include "framework/io/files.h"
#include "tools/recipes.h"

namespace gradus::tools {
namespace {

std::string with_underscores(std::string argument) {
  if (!argument.starts_with("--")) return argument;
  const std::size_t end = std::min(argument.find('='), argument.size());
  std::replace(argument.begin() + 2, argument.begin() + static_cast<std::ptrdiff_t>(end), '-', '_');
  return argument;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> subcommand_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* child : app.get_subcommands({})) names.push_back(child->get_name());
  return names;
}

/// The innermost subcommand that the arguments name, and how many of them name it.
std::pair<const CLI::App*, std::size_t> find_subcommand(const CLI::App& program, const std::vector<std::string>& arguments) {
  const CLI::App* app = &program;
  std::size_t used = 0;
  while (used < arguments.size()) {
    const std::vector<std::string> names = subcommand_names(*app);
    if (std::find(names.begin(), names.end(), arguments[used]) == names.end()) break;
    app = app->get_subcommand(arguments[used++]);
  }
  return {app, used};
}

using Settings = std::vector<std::pair<std::string, std::string>>;

std::string scalar_text(const nlohmann::json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

/// A JSON object, or lines `key = value` with # comments.
Settings read_config(const std::string& path) {
  const std::string text = io::read_file(path);
  Settings settings;
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '{') {
    nlohmann::ordered_json json;
    try {
      json = nlohmann::ordered_json::parse(text);
    } catch (const nlohmann::json::exception& error) {
      fail<DataError>("{}: not valid JSON: {}", path, error.what());
    }
    for (const auto& [key, value] : json.items()) {
      if (value.is_structured()) fail<DataError>("{}: the value of '{}' must be a number, a string or a boolean", path, key);
      settings.emplace_back(key, scalar_text(value));
    }
    return settings;
  }
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
    settings.emplace_back(trim(line.substr(0, equals)), trim(line.substr(equals + 1)));
  }
  return settings;
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row.back();
}

}  // namespace

MergedArguments merge_arguments(const CLI::App& program, int argc, char** argv) {
  std::vector<std::string> given;
  for (int i = 1; i < argc; ++i) given.push_back(with_underscores(argv[i]));
  const auto [app, used] = find_subcommand(program, given);
  const std::vector<std::string> names = option_names(*app);
  MergedArguments merged;
  merged.arguments.assign(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(used));
  const auto add = [&](const std::string& name, const std::string& value, const std::string& origin) {
    merged.arguments.push_back(name + "=" + value);
    merged.origins[name] = origin;
  };
  std::vector<std::string> config_paths;
  const bool takes_config = std::find(names.begin(), names.end(), "--config") != names.end();
  if (const char* path = std::getenv("GRADUS_CONFIG"); path && takes_config) config_paths.push_back(path);
  for (std::size_t i = used; i < given.size(); ++i) {
    if (given[i].starts_with("--config=")) config_paths.push_back(given[i].substr(9));
    else if (given[i] == "--config" && i + 1 < given.size()) config_paths.push_back(given[i + 1]);
  }
  for (const std::string& path : config_paths) {
    for (const auto& [key, value] : read_config(path)) {
      const std::string name = with_underscores("--" + key);
      if (std::find(names.begin(), names.end(), name) == names.end()) {
        fail<UsageError>("{}: '{}' is not an option of '{}'{}", path, key, app->get_name(), did_you_mean(name, names));
      }
      add(name, value, "file " + path);
    }
  }
  for (const std::string& name : names) {
    std::string variable = "GRADUS_" + name.substr(2);
    std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char c) { return std::toupper(c); });
    if (const char* value = std::getenv(variable.c_str())) add(name, value, "environment " + variable);
  }
  for (std::size_t i = used; i < given.size(); ++i) {
    const CLI::Option* option = given[i].starts_with("--") ? app->get_option_no_throw(given[i]) : nullptr;
    if (option && option->get_items_expected_min() > 0 && i + 1 < given.size() && given[i + 1].starts_with("-") &&
        app->get_option_no_throw(given[i + 1])) {
      fail<UsageError>("{} needs a value, and '{}' after it is an option; write {}={} if it is meant", given[i],
                       given[i + 1], given[i], given[i + 1]);
    }
    merged.arguments.push_back(given[i]);
    if (given[i].starts_with("--")) merged.origins[given[i].substr(0, given[i].find('='))] = "command line";
  }
  if (std::find(names.begin(), names.end(), "--recipe") != names.end()) {
    const auto last_value = [&](const std::string& name) {
      std::optional<std::string> value;
      for (std::size_t i = used; i < merged.arguments.size(); ++i) {
        const std::string& argument = merged.arguments[i];
        if (argument.starts_with(name + "=")) value = argument.substr(name.size() + 1);
        else if (argument == name && i + 1 < merged.arguments.size()) value = merged.arguments[i + 1];
      }
      return value;
    };
    const auto edition = last_value("--edition"), named = last_value("--recipe");
    if (edition && named) fail<UsageError>("--edition {} is a recipe, and --recipe {} names another", *edition, *named);
    const std::string recipe = edition ? recipe_of_edition(*edition) : named.value_or(usual_recipe);
    const bool from_scratch = !last_value("--reading_params_path");
    std::map<std::string, std::string> values, origins;
    for (const std::string& each : {std::string(usual_recipe), recipe}) {
      for (const auto& [key, value] : recipe_values(each, app->get_name(), from_scratch)) {
        const std::string name = with_underscores("--" + key);
        if (std::find(names.begin(), names.end(), name) == names.end()) {
          fail<UsageError>("{}: '{}' is not an option of '{}'{}", each, key, app->get_name(),
                           did_you_mean(name, names));
        }
        values[name] = value;
        origins[name] = "recipe " + each;
      }
    }
    merged.origins.insert(origins.begin(), origins.end());
    std::vector<std::string> first;
    for (const auto& [name, value] : values) {
      first.push_back(value.empty() ? name : name + "=" + value);
      if (value.empty()) first.push_back("");
    }
    merged.arguments.insert(merged.arguments.begin() + static_cast<std::ptrdiff_t>(used), first.begin(), first.end());
  }
  return merged;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  std::string nearest;
  std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < least) least = distance, nearest = candidate;
  }
  return nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest);
}

std::string explain_parse_error(const CLI::App& program, const CLI::ParseError& error, const std::vector<std::string>& arguments) {
  const auto [app, used] = find_subcommand(program, arguments);
  const std::vector<std::string> names = option_names(*app);
  // A misspelt option may leave a required one missing: the misspelling is what the user wants to hear about.
  if (dynamic_cast<const CLI::ExtrasError*>(&error) || dynamic_cast<const CLI::RequiredError*>(&error)) {
    for (std::size_t i = used; i < arguments.size(); ++i) {
      const std::string name = arguments[i].substr(0, arguments[i].find('='));
      if (name.starts_with("--") && std::find(names.begin(), names.end(), name) == names.end()) {
        return fmt::format("unknown option {}{}", name, did_you_mean(name, names));
      }
    }
  }
  const std::vector<std::string> children = subcommand_names(*app);
  if (!children.empty() && used < arguments.size() && !arguments[used].starts_with("-")) {
    return fmt::format("'{}' has no subcommand '{}'{}", app->get_name(), arguments[used], did_you_mean(arguments[used], children));
  }
  return error.what();
}

}  // namespace gradus::tools
