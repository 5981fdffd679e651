#include "tools/options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "framework/base/error.h"
#include "framework/base/printable.h"
#include "framework/data/utf8.h"
#include "framework/io/files.h"
#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/tensor/device.h"
#include "framework/tensor/precision.h"
#include "tools/arguments.h"
#include "tools/token_amounts.h"

namespace gradus::tools {
namespace {
constexpr int most_threads = 1024;
}

Compute CommonOptions::apply() const {
  if (threads < 0 || threads > most_threads)
    fail<UsageError>("--threads must be between 1 and {}, or 0 for all, not {}", most_threads, threads);
  if (threads > 0) cpu::set_thread_count(threads);
  const int wanted = cpu::thread_count(), started = cpu::limit_threads_to_what_starts();
  if (started < wanted)
    std::cerr << fmt::format("note: the system lets this process start {} of {} threads (ulimit -a)\n", started, wanted);
  const Device where = device_from_string(device);
  const bool tf32 = dtype == "tf32";
  if (tf32 && where == Device{})
    fail<UsageError>("--dtype tf32: tensor cores of a CUDA device compute in it, the CPU does not");
  set_product_precision(tf32 ? ProductPrecision::tf32 : ProductPrecision::full);
  if (!tf32 && dtype != "f32" && dtype != "bf16" && dtype != "f64")
    fail<UsageError>("unknown dtype '{}': expected f32, bf16, f64 or tf32", dtype);
  const DType type = tf32 ? DType::f32 : dtype_from_string(dtype);
  if (type == DType::bf16 && where == Device{} && cpu::bf16_products() == "f32") {
    std::cerr << "note: this processor has no bf16 instructions: matrix products widen to f32, --dtype f32 is faster\n";
  }
  train::progress_mode_from_string(progress);
  prepare_json(json);
  for (const std::string& line : environment_in_force()) std::cerr << line << "\n";
  return {type, where};
}

void add_common_options(CLI::App& command, CommonOptions& options) {
  add_seed(command, options.seed, "Initial values, data order, corruption and dropout all follow from it");
  command.add_option("--threads", options.threads, "CPU threads; 0 for all. Results do not depend on it")->capture_default_str();
  command
      .add_option("--dtype", options.dtype,
                  "f32, bf16 (activations and products; parameters stay f32), f64, or tf32 (f32 with products in 19 "
                  "bits, on CUDA devices)")
      ->capture_default_str();
  command.add_option("--device", options.device, "auto, cpu, cuda or cuda:N; auto is a CUDA device where there is one")
      ->capture_default_str();
  command.add_option("--progress", options.progress, "auto, bar, plain, lines (one for each step) or off")->capture_default_str();
  command.add_option("--json", options.json, "Write the results as JSON to FILE, - for standard output")->type_name("FILE");
  command.add_option("--config", options.config, "Options from a file: JSON, or lines key = value")->type_name("FILE");
  command.add_flag("--print_config", options.print_config, "Print every option with its origin, and stop");
}

std::map<std::string, std::string>& option_origins() {
  static std::map<std::string, std::string> origins;
  return origins;
}

void print_config(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_lnames().empty() || option->get_name() == "--help") continue;
    const std::string name = option->get_name();
    const auto origin = option_origins().find(name);
    const bool is_flag = option->get_expected_max() == 0;
    const std::string value = option->count() > 0 ? option->results().back() : is_flag ? "false" : option->get_default_str();
    std::cout << fmt::format("{} = {}  ({})\n", name.substr(2), printable(value),
                             origin == option_origins().end() ? "default" : printable(origin->second));
  }
}

CLI::Option* add_integer(CLI::App& command, const std::string& name, std::int64_t& value, const std::string& help) {
  return command.add_option(name, value, help)
      ->transform([](const std::string& text) -> std::string {
        const auto value = parse_size(text);
        if (!value) throw CLI::ValidationError(fmt::format("'{}' is not a whole number, or too large", text));
        return std::to_string(*value);
      })
      ->capture_default_str();
}

void refuse_empty_numbers(CLI::App& command) {
  for (CLI::Option* option : command.get_options()) {
    const std::string type = option->get_type_name();
    if (type != "FLOAT" && type != "INT" && type != "UINT") continue;
    option->check([](const std::string& text) { return text.empty() ? "'' is not a number" : std::string(); }, "");
  }
  for (CLI::App* child : command.get_subcommands({})) refuse_empty_numbers(*child);
}

CLI::Option* add_seed(CLI::App& command, std::uint64_t& seed, const std::string& help, const std::string& name) {
  return command.add_option(name, seed, help)
      ->check(
          [](const std::string& text) -> std::string {
            const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
            if (!digits) return fmt::format("'{}' is not a whole number from 0 on", text);
            if (text.size() > 1 && text[0] == '0') return fmt::format("'{}' begins with a zero", text);
            errno = 0;
            std::strtoull(text.c_str(), nullptr, 10);
            return errno == ERANGE ? fmt::format("'{}' is too large", text) : std::string();
          },
          "")
      ->capture_default_str();
}

void add_recompute(CLI::App& command, bool& recompute) {
  command.add_flag(
      "--recompute", recompute,
      "Keep less of the forward pass and compute it again for backward: less memory, more time, same bits");
}

void add_eager(CLI::App& command, bool& eager) {
  command.add_flag("--eager", eager,
                   "On a CUDA device: start each kernel of a step by itself, without a graph; the same bits");
}

std::ostream& standard_output() {
  static std::ostream output(std::cout.rdbuf(std::cerr.rdbuf()));
  return output;
}

void prepare_json(const std::string& path) {
  if (path == "-") standard_output();
  else if (!path.empty()) io::require_writable(path);
}

void write_json(const std::string& path, const nlohmann::ordered_json& json) {
  if (path.empty()) return;
  const std::string text =
      printable(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n", "\n");
  if (path != "-") return io::write_file_atomically(path, text);
  if (!(standard_output() << text << std::flush)) fail<OutputError>("standard output: cannot be written");
}

std::u32string characters_of(const std::string& flag, const std::string& value) {
  try {
    return data::decode_utf8(value, flag);
  } catch (const DataError&) {
    fail<UsageError>("{}: '{}' is not UTF-8", flag, value);
  }
}

void print_notices(const std::vector<std::string>& notices) {
  for (const std::string& notice : notices) std::cerr << "note: " << printable(notice) << "\n";
}

bool is_same_file(const std::string& a, const std::string& b) {
  std::error_code ignored;
  const auto canonical = [&](const std::string& path) {
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path, ignored), ignored);
  };
  return std::filesystem::equivalent(a, b, ignored) || canonical(a) == canonical(b);
}

void require_distinct(const std::vector<NamedPath>& inputs, const std::vector<NamedPath>& outputs) {
  const auto given = [](const NamedPath& path) { return !path.path.empty() && path.path != "-"; };
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!given(outputs[i])) continue;
    for (const NamedPath& input : inputs) {
      if (given(input) && is_same_file(outputs[i].path, input.path)) {
        fail<UsageError>("{} and {} are the same file, {}: it would be overwritten", outputs[i].name, input.name,
                         input.path);
      }
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (given(outputs[j]) && is_same_file(outputs[i].path, outputs[j].path)) {
        fail<UsageError>("{} and {} are the same file, {}: one would overwrite the other", outputs[j].name,
                         outputs[i].name, outputs[i].path);
      }
    }
  }
}

void add_examples(CLI::App& command, const std::string& examples) { command.footer("Examples:\n" + examples); }

models::Variant parse_variant(const std::string& name) {
  const std::vector<std::string>& names = models::variant_names();
  if (std::ranges::find(names, name) == names.end()) {
    fail<UsageError>("unknown variant '{}'{}; it must be one of {}", name, did_you_mean(name, names),
                     fmt::join(names, ", "));
  }
  return models::variant_from_string(name);
}

}  // namespace gradus::tools
