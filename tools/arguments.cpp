#include "tools/arguments.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>

#include "framework/base/error.h"
#include "tools/course_flags.h"
#include "tools/recipes.h"
#include "tools/settings.h"

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

bool is_flag(const CLI::Option& option) { return option.get_expected_max() == 0; }

/// Flags may stand before the command, as argparse takes them: the command goes to the front.
void put_command_first(const CLI::App& program, std::vector<std::string>& arguments) {
  std::size_t at = 0;
  while (at < arguments.size() && arguments[at].starts_with("--")) {
    const CLI::Option* option = nullptr;
    for (const CLI::App* command : program.get_subcommands({})) {
      if (!option) option = command->get_option_no_throw(arguments[at].substr(0, arguments[at].find('=')));
    }
    if (!option || option->get_name() == "--help") return;
    at += !is_flag(*option) && arguments[at].find('=') == std::string::npos ? 2 : 1;
  }
  const std::vector<std::string> commands = subcommand_names(program);
  if (at >= arguments.size() || std::find(commands.begin(), commands.end(), arguments[at]) == commands.end()) return;
  std::rotate(arguments.begin(), arguments.begin() + static_cast<std::ptrdiff_t>(at),
              arguments.begin() + static_cast<std::ptrdiff_t>(at) + 1);
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

struct Setting {
  std::string name, value, origin;  ///< the name with dashes
};

/// The value that `name` has at last among arguments, given as --name=value or as --name value.
std::optional<std::string> value_in(const std::vector<std::string>& arguments, const std::string& name) {
  std::optional<std::string> value;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with(name + "=")) value = arguments[i].substr(name.size() + 1);
    else if (arguments[i] == name && i + 1 < arguments.size()) value = arguments[i + 1];
  }
  return value;
}

std::optional<std::string> value_in(const std::vector<Setting>& settings, const std::string& name) {
  std::optional<std::string> value;
  for (const Setting& setting : settings) {
    if (setting.name == name) value = setting.value;
  }
  return value;
}

/// A file's setting as one of the command's options.
Setting setting_of(const CLI::App& app, const std::string& path, const std::string& key, const std::string& value,
                   const std::string& origin) {
  const std::string name = "--" + key;
  const CLI::Option* option = app.get_option_no_throw(name);
  if (!option)
    fail<UsageError>("{}: '{}' is not an option of '{}'{}", path, key, app.get_name(),
                     did_you_mean(name, option_names(app)));
  if (is_flag(*option) && value != "true" && value != "false")
    fail<UsageError>("{}: '{}' must be true or false, not '{}'", path, key, value);
  return {name, value, origin};
}

std::vector<Setting> of_config_files(const CLI::App& app, const std::vector<std::string>& given) {
  std::vector<std::string> paths;
  if (!app.get_option_no_throw("--config")) return {};
  if (const char* path = std::getenv("GRADUS_CONFIG")) paths.push_back(path);
  if (const auto path = value_in(given, "--config")) paths.push_back(*path);
  std::vector<Setting> settings;
  for (const std::string& path : paths) {
    for (const auto& [key, value] : read_config(path))
      settings.push_back(setting_of(app, path, key, value, "file " + path));
  }
  return settings;
}

const std::string variable_prefix = "GRADUS_";

/// GRADUS_MAX_EPOCHS of --max_epochs.
std::string variable_of(const std::string& option) {
  std::string variable = variable_prefix + option.substr(2);
  std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char c) { return std::toupper(c); });
  return variable;
}

std::vector<Setting> of_environment(const CLI::App& app) {
  std::vector<Setting> settings;
  for (const std::string& name : option_names(app)) {
    const std::string variable = variable_of(name);
    if (const char* value = std::getenv(variable.c_str()); value && *value)
      settings.push_back({name, value, "environment " + variable});
  }
  return settings;
}

/// The variables that some command's options have.
void collect_variables(const CLI::App& app, std::set<std::string>& variables) {
  for (const std::string& name : option_names(app)) variables.insert(variable_of(name));
  for (const CLI::App* child : app.get_subcommands({})) collect_variables(*child, variables);
}

/// What the variables of this process do: those that set an option of the command or the framework, and those that
/// nothing reads.
std::vector<std::string> describe_environment(const CLI::App& program, const std::map<std::string, std::string>& origins) {
  // Not of options: the framework's, the emulation's, and that of the tests on the course's data.
  std::set<std::string> known = {"GRADUS_MEMORY_LIMIT", "GRADUS_CUDA_SCHEDULE", "GRADUS_CUDA_DEFERRED", "GRADUS_DATA"};
  const std::set<std::string> always_in_force = {"GRADUS_CONFIG", "GRADUS_MEMORY_LIMIT"};
  collect_variables(program, known);
  std::vector<std::string> in_force, lines;
  for (char** entry = environ; *entry; ++entry) {
    const std::string setting = *entry, variable = setting.substr(0, setting.find('='));
    if (!variable.starts_with(variable_prefix) || setting.size() <= variable.size() + 1) continue;
    const bool decides = std::any_of(origins.begin(), origins.end(),
                                     [&](const auto& origin) { return origin.second == "environment " + variable; });
    if (decides || always_in_force.contains(variable)) in_force.push_back(setting);
    if (!known.contains(variable)) {
      lines.push_back(fmt::format("note: {} is set, and nothing reads it{}", variable,
                                  did_you_mean(variable, {known.begin(), known.end()}, variable_prefix.size())));
    }
  }
  std::sort(in_force.begin(), in_force.end());
  if (!in_force.empty()) lines.insert(lines.begin(), fmt::format("from the environment: {}", fmt::join(in_force, ", ")));
  return lines;
}

/// The recipe that arguments or settings, from `origin`, ask for by either name. Throws UsageError for both.
template <class Layer>
std::optional<Setting> recipe_in(const Layer& layer, const std::string& origin) {
  const auto edition = value_in(layer, "--edition"), recipe = value_in(layer, "--recipe");
  if (edition && recipe) fail<UsageError>("--edition {} is a recipe, and --recipe {} names another", *edition, *recipe);
  if (edition) return Setting{"--recipe", recipe_of_edition(*edition), "edition " + *edition};
  if (recipe) return Setting{"--recipe", *recipe, origin};
  return {};
}

/// The usual recipe's values, then what `recipe` changes.
std::vector<Setting> of_recipe(const CLI::App& app, const std::string& recipe, bool from_scratch) {
  std::vector<Setting> settings;
  for (const std::string& each : {std::string(usual_recipe), recipe}) {
    for (const auto& [key, value] : recipe_values(each, app.get_name(), from_scratch))
      settings.push_back(setting_of(app, each, key, value, "recipe " + each));
  }
  return settings;
}

void require_values(const CLI::App& app, const std::vector<std::string>& given) {
  for (std::size_t i = 0; i + 1 < given.size(); ++i) {
    const CLI::Option* option = given[i].starts_with("--") ? app.get_option_no_throw(given[i]) : nullptr;
    if (option && option->get_items_expected_min() > 0 && given[i + 1].starts_with("-") &&
        app.get_option_no_throw(given[i + 1])) {
      fail<UsageError>("{} needs a value, and '{}' after it is an option; write {}={} if it is meant", given[i],
                       given[i + 1], given[i], given[i + 1]);
    }
  }
}

}  // namespace

MergedArguments merge_arguments(const CLI::App& program, int argc, char** argv) {
  std::vector<std::string> given;
  for (int i = 1; i < argc; ++i) given.push_back(with_underscores(argv[i]));
  translate_course_script(given);
  put_command_first(program, given);
  const auto [app, used] = find_subcommand(program, given);
  MergedArguments merged;
  merged.arguments.assign(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(used));
  given.erase(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(used));

  std::map<std::string, Setting> settings;  // by the option's first name: a later layer replaces an earlier one
  const auto first_name = [app = app](const std::string& name) {
    const CLI::Option* option = app->get_option_no_throw(name);
    return option ? option->get_name() : name;
  };
  const auto add = [&](const std::vector<Setting>& layer) {
    for (const Setting& setting : layer) settings.insert_or_assign(first_name(setting.name), setting);
  };
  const std::vector<Setting> files = of_config_files(*app, given), environment = of_environment(*app);
  if (app->get_option_no_throw("--recipe")) {
    std::optional<Setting> asked = recipe_in(given, "command line");
    if (!asked) asked = recipe_in(environment, "environment " + variable_of("--recipe"));
    if (!asked) asked = recipe_in(files, "file");
    const Setting recipe = asked.value_or(Setting{"--recipe", usual_recipe, "default"});
    std::optional<std::string> model = value_in(given, "--reading_params_path");
    if (!model) model = value_in(environment, "--reading_params_path");
    if (!model) model = value_in(files, "--reading_params_path");
    add(of_recipe(*app, recipe.value, model.value_or("").empty()));
    add(files);
    add(environment);
    if (recipe_in(given, "")) settings.erase("--edition");  // a variable's has no say then
    add({recipe});
  } else {
    add(files);
    add(environment);
  }
  require_values(*app, given);
  for (const std::string& argument : given) {
    if (!argument.starts_with("--")) continue;
    const std::string name = first_name(argument.substr(0, argument.find('=')));
    settings.erase(name);
    merged.origins[name] = "command line";
  }
  const auto put = [&](const std::string& name, const std::string& value) {
    merged.arguments.push_back(value.empty() ? name : name + "=" + value);
    if (value.empty()) merged.arguments.push_back("");  // CLI11 takes `--name=` for a name without a value
  };
  for (const auto& [name, setting] : settings) {
    put(setting.name, setting.value);
    merged.origins[name] = setting.origin;
  }
  for (const std::string& argument : given) {
    if (argument.starts_with("--") && argument.ends_with("=")) put(argument.substr(0, argument.size() - 1), "");
    else merged.arguments.push_back(argument);
  }
  merged.environment = describe_environment(program, merged.origins);
  return merged;
}

std::vector<std::string>& environment_in_force() {
  static std::vector<std::string> lines;
  return lines;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates, std::size_t prefix) {
  std::string nearest;
  std::size_t least = std::max<std::size_t>(2, (word.size() - prefix) / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < least) least = distance, nearest = candidate;
  }
  return nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest);
}

std::string explain_parse_error(const CLI::App& program, const CLI::ParseError& error, const MergedArguments& merged) {
  const std::vector<std::string>& arguments = merged.arguments;
  const auto [app, used] = find_subcommand(program, arguments);
  const std::vector<std::string> names = option_names(*app);
  const std::vector<std::string> children = subcommand_names(*app);
  if (!children.empty() && used < arguments.size() && !arguments[used].starts_with("-")) {
    return fmt::format("'{}' has no subcommand '{}'{}", app->get_name(), arguments[used], did_you_mean(arguments[used], children));
  }
  // A misspelt option may leave a required one missing: the misspelling is what the user wants to hear about.
  if (dynamic_cast<const CLI::ExtrasError*>(&error) || dynamic_cast<const CLI::RequiredError*>(&error)) {
    for (std::size_t i = used; i < arguments.size(); ++i) {
      const std::string name = arguments[i].substr(0, arguments[i].find('='));
      if (name.starts_with("--") && std::find(names.begin(), names.end(), name) == names.end()) {
        return fmt::format("unknown option {}{}", name, did_you_mean(name, names));
      }
    }
  }
  for (const auto& [name, origin] : merged.origins) {
    const std::string what = error.what();
    const bool is_named = what.starts_with(name + ":") || what.find(" " + name + " ") != std::string::npos;
    if (is_named && origin != "command line") return fmt::format("{}: {}", origin, what);
  }
  return error.what();
}

}  // namespace gradus::tools
