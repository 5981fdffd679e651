// The command line as the subcommands see it. CLI11 is behind it and stays in three files: its header takes longer to
// compile than any of them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace gradus::tools {

/// An option or argument that was added to a command. Copies are the same option, as with Command.
class Option {
 public:
  explicit Option(CLI::Option& option) : option_(&option) {}

  Option required() const;
  Option positive() const;                          ///< refuses numbers that are not above zero
  Option type_name(const std::string& name) const;  ///< what `--help` calls the value: FILE
  Option group(const std::string& name) const;      ///< the heading in `--help`

 private:
  CLI::Option* option_;
};

/// The program or one of its subcommands.
class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}

  Command add_subcommand(const std::string& name, const std::string& help) const;
  void require_subcommand() const;

  /// `--name` or an argument `NAME`. What `value` holds now is the default. A list takes one value each time the option
  /// is given.
  Option add_option(const std::string& name, std::string& value, const std::string& help) const;
  Option add_option(const std::string& name, double& value, const std::string& help) const;
  Option add_option(const std::string& name, int& value, const std::string& help) const;
  Option add_option(const std::string& name, std::vector<std::string>& values, const std::string& help) const;
  Option add_flag(const std::string& name, bool& value, const std::string& help) const;
  /// An integer option that also takes sizes like 4k and 2m.
  Option add_integer(const std::string& name, std::int64_t& value, const std::string& help) const;
  /// A seed: a whole number from 0 on.
  Option add_seed(std::uint64_t& seed, const std::string& help, const std::string& name = "--seed") const;
  /// Adds `Examples:` to the help.
  void add_examples(const std::string& examples) const;

  /// What the command does; called after parsing, if the command was given.
  void set_action(std::function<void()> action) const;

  /// Whether the user gave the option.
  bool is_given(const std::string& name) const;
  /// Prints every option with its value and origin.
  void print_config() const;

 private:
  CLI::App* app_;
};

}  // namespace gradus::tools
