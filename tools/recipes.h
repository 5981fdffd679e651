// Recipes: values for the options of pretrain and finetune, in JSON files. Those in tools/recipes are part of the program.
#pragma once

#include <string>
#include <vector>

#include "tools/settings.h"

namespace gradus::tools {

/// Where neither --recipe nor --edition is given; another recipe changes what it names.
inline constexpr const char* usual_recipe = "recall";

const std::vector<std::string>& built_in_recipes();

/// What --edition YEAR stands for. Throws UsageError for another year than 2021 to 2024.
std::string recipe_of_edition(const std::string& year);

/// The values of a recipe, a built-in one or a file, for "pretrain" or "finetune"; finetuning from scratch has further
/// ones.
///   {"about": "why", "pretrain": {"max_epochs": 650, ...}, "finetune": {...}, "finetune from scratch": {...}}
/// Throws UsageError for a name that is neither, DataError for a file that is no recipe.
Settings recipe_values(const std::string& recipe, const std::string& command, bool from_scratch);

}  // namespace gradus::tools
