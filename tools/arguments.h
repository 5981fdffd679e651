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
  std::vector<std::string> environment;        ///< what GRADUS_* variables do to the command, a line each
};

/// Adds the options of the recipe, of `--config FILE` and of GRADUS_* variables to those of the command line, each from
/// where it counts most: flag > environment > file > recipe > default. An empty variable is none. Dashes inside option
/// names become underscores. Throws UsageError or DataError for a bad file, or a key that the subcommand does not have.
MergedArguments merge_arguments(const CLI::App& program, int argc, char** argv);

/// MergedArguments::environment of this process, for commands to say when they begin to work.
std::vector<std::string>& environment_in_force();

/// ` (did you mean --seed?)`, or nothing where no candidate is near.
/// The first `prefix` characters are common to all and say nothing.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates, std::size_t prefix = 0);

/// A sentence for what CLI11 could not parse, and where it came from if not from the command line.
std::string explain_parse_error(const CLI::App& program, const CLI::ParseError& error, const MergedArguments& merged);

}  // namespace gradus::tools
