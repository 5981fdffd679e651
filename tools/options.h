// Options that several subcommands share.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/base/dtype.h"
#include "framework/tensor/device.h"
#include "framework/train/progress.h"
#include "models/gpt/gpt.h"

namespace gradus::tools {

/// What a model computes in, and where.
struct Compute {
  DType dtype;
  Device device;
};

struct CommonOptions {
  std::uint64_t seed = 0;
  int threads = 0;
  std::string dtype = "f32", device = "auto", progress = "auto", json, config;
  bool print_config = false;

  /// Puts threads and the precision of products into effect. Throws UsageError for what this build cannot do.
  Compute apply() const;
};

/// --seed --threads --dtype --device --progress --json --config --print_config
void add_common_options(CLI::App& command, CommonOptions& options);

/// Where each option's value comes from, by name with dashes; filled while parsing.
std::map<std::string, std::string>& option_origins();
/// Prints every option of `command` with its value and origin.
void print_config(const CLI::App& command);

/// An integer option that also takes sizes like 4k and 2m.
CLI::Option* add_integer(CLI::App& command, const std::string& name, std::int64_t& value, const std::string& help);

/// Has the options of `command` and of its subcommands that take a number refuse an empty value, as of an unset variable
/// in a script: the parser would read 0.
void refuse_empty_numbers(CLI::App& command);

/// A seed: a whole number from 0 on.
CLI::Option* add_seed(CLI::App& command, std::uint64_t& seed, const std::string& help, const std::string& name = "--seed");

/// Standard output kept for `--json -`: the first call sends what is written to std::cout to standard error instead.
std::ostream& standard_output();

/// To be called before the work begins: throws UsageError where write_json could not write to `path`; for `-` sends
/// everything else that is printed to standard error.
void prepare_json(const std::string& path);
/// Writes to FILE, or to standard output for `-`; nothing for an empty path.
void write_json(const std::string& path, const nlohmann::ordered_json& json);

/// The characters of an option's value. Throws UsageError naming the flag where it is not UTF-8.
std::u32string characters_of(const std::string& flag, const std::string& value);

/// What a loader of text said, each as a line `note: ...` on standard error.
void print_notices(const std::vector<std::string>& notices);

/// A path and the flag or argument that gave it; an empty path was not given.
struct NamedPath {
  std::string name, path;
};
bool is_same_file(const std::string& a, const std::string& b);
/// Throws UsageError where an output is the same file as an input or as another output.
void require_distinct(const std::vector<NamedPath>& inputs, const std::vector<NamedPath>& outputs);

/// --recompute, of commands that train.
void add_recompute(CLI::App& command, bool& recompute);
/// --eager
void add_eager(CLI::App& command, bool& eager);

/// Adds `Examples:` to a command's help.
void add_examples(CLI::App& command, const std::string& examples);

/// Throws UsageError, with the nearest name, for what is no variant.
models::Variant parse_variant(const std::string& name);

}  // namespace gradus::tools
