#include "tools/recipes.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "framework/base/error.h"
#include "framework/io/files.h"
#include "framework/io/json.h"
#include "tools/arguments.h"
#include "tools/recipe_texts.h"

namespace gradus::tools {
namespace {

/// What decides a run's result; the rest is the user's business.
const std::vector<std::string>& recipe_options() {
  static const std::vector<std::string> names = {
      "max_epochs",        "batch_size", "micro_batches", "pretrain_lr", "finetune_lr", "warmup_tokens", "final_tokens",
      "hold_rate",         "shuffle",    "full_length",   "dropout",     "decay",       "names",         "names_after",
      "names_after_share", "seed",       "dtype",         "block_size",  "layers",      "heads",         "width",
      "bottleneck_dim"};
  return names;
}

std::string recipe_text(const std::string& recipe) {
  const auto built_in = std::ranges::find(recipe_texts, recipe, &RecipeText::name);
  if (built_in != std::end(recipe_texts)) return built_in->text;
  if (!io::is_there(recipe)) {
    fail<UsageError>("--recipe {}: neither a file nor one of {}{}", recipe, fmt::join(built_in_recipes(), ", "),
                     did_you_mean(recipe, built_in_recipes()));
  }
  return read_settings_text(recipe);
}

nlohmann::ordered_json parse_recipe(const std::string& recipe) {
  nlohmann::ordered_json json = io::parse_json<nlohmann::ordered_json>(recipe_text(recipe), recipe);
  if (!json.is_object()) fail<DataError>("{}: a recipe is a JSON object", recipe);
  static const std::vector<std::string> parts = {"about", "pretrain", "finetune", "finetune from scratch"};
  for (const auto& [part, values] : json.items()) {
    if (std::ranges::find(parts, part) == parts.end()) {
      fail<DataError>("{}: '{}' is no part of a recipe{}; it has {}", recipe, part, did_you_mean(part, parts),
                      fmt::join(parts, ", "));
    }
    if (part == "about") continue;
    if (!values.is_object()) fail<DataError>("{}: '{}' must be an object", recipe, part);
    for (const auto& [key, value] : settings_of(values, recipe)) {
      if (std::ranges::find(recipe_options(), key) == recipe_options().end())
        fail<DataError>("{}: '{}' is not for a recipe{}", recipe, key, did_you_mean(key, recipe_options()));
    }
  }
  return json;
}

}  // namespace

const std::vector<std::string>& built_in_recipes() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const RecipeText& recipe : recipe_texts) all.push_back(recipe.name);
    return all;
  }();
  return names;
}

std::string recipe_of_edition(const std::string& year) {
  if (year == "2021" || year == "2022") return "edition-2021";
  if (year == "2023" || year == "2024") return "edition-" + year;
  fail<UsageError>("--edition must be 2021, 2022, 2023 or 2024, not {}", year);
}

Settings recipe_values(const std::string& recipe, const std::string& command, bool from_scratch) {
  const nlohmann::ordered_json json = parse_recipe(recipe);
  Settings values;
  const auto take = [&](const std::string& part) {
    if (!json.contains(part)) return;
    for (const auto& setting : settings_of(json.at(part), recipe)) values.push_back(setting);
  };
  take(command);
  if (from_scratch) take(command + " from scratch");
  return values;
}

}  // namespace gradus::tools
