#include "tools/recipes.h"

#include <algorithm>
#include <filesystem>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "framework/base/error.h"
#include "framework/io/files.h"
#include "tools/arguments.h"
#include "tools/recipe_texts.h"

namespace gradus::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string recipe_text(const std::string& recipe) {
  const auto built_in = std::ranges::find(recipe_texts, recipe, &RecipeText::name);
  if (built_in != std::end(recipe_texts)) return built_in->text;
  if (!std::filesystem::exists(recipe)) {
    fail<UsageError>("--recipe {}: neither a file nor one of {}{}", recipe, fmt::join(built_in_recipes(), ", "),
                     did_you_mean(recipe, built_in_recipes()));
  }
  return io::read_file(recipe);
}

Json parse_recipe(const std::string& recipe) {
  const std::string text = recipe_text(recipe);
  Json json;
  try {
    json = Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    fail<DataError>("{}: not valid JSON: {}", recipe, error.what());
  }
  if (!json.is_object()) fail<DataError>("{}: a recipe is a JSON object", recipe);
  static const std::vector<std::string> parts = {"about", "pretrain", "finetune", "finetune from scratch"};
  for (const auto& [part, values] : json.items()) {
    if (std::ranges::find(parts, part) == parts.end()) {
      fail<DataError>("{}: '{}' is no part of a recipe{}; it has {}", recipe, part, did_you_mean(part, parts),
                      fmt::join(parts, ", "));
    }
    if (part == "about") continue;
    if (!values.is_object()) fail<DataError>("{}: '{}' must be an object", recipe, part);
    for (const auto& [option, value] : values.items()) {
      if (value.is_structured() || value.is_null())
        fail<DataError>("{}: the value of '{}' must be a number, a string or a boolean", recipe, option);
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

std::vector<RecipeValue> recipe_values(const std::string& recipe, const std::string& command, bool from_scratch) {
  const Json json = parse_recipe(recipe);
  std::vector<RecipeValue> values;
  const auto take = [&](const std::string& part) {
    if (!json.contains(part)) return;
    for (const auto& [option, value] : json.at(part).items())
      values.push_back({option, value.is_string() ? value.get<std::string>() : value.dump()});
  };
  take(command);
  if (from_scratch) take(command + " from scratch");
  return values;
}

}  // namespace gradus::tools
