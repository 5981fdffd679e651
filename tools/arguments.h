// From the command line, the environment and a configuration file to one list of arguments, and help with misspellings.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace gradus::tools {

struct MergedArguments {
  std::vector<std::string> arguments;          ///< without the program's name, in the order of parsing
  std::map<std::string, std::string> origins;  ///< option name -> where its value comes from
};

/// Adds the options of the recipe, of `--config FILE` and of GRADUS_* variables to those of the command line, each from
/// where it counts most: flag > environment > file > recipe > default. An empty variable is none. Dashes inside option
/// names become underscores. Throws UsageError or DataError for a bad file, or a key that the subcommand does not have.
MergedArguments merge_arguments(const CLI::App& program, int argc, char** argv);

/// ` (did you mean --seed?)`, or nothing where no candidate is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);

/// A sentence for what CLI11 could not parse, and where it came from if not from the command line.
std::string explain_parse_error(const CLI::App& program, const CLI::ParseError& error, const MergedArguments& merged);

}  // namespace gradus::tools
