#include "tools/command_line.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>

#include "framework/base/error.h"
#include "tools/arguments.h"

namespace gradus::tools {
namespace {

template <class T>
Option add_with_default(CLI::App& app, const std::string& name, T& value, const std::string& help) {
  return Option(*app.add_option(name, value, help)->capture_default_str());
}

/// `4k` as `4000`; throws what CLI11 reports for the option.
std::string without_unit(const std::string& text) {
  const std::map<char, std::int64_t> units = {{'k', 1000}, {'m', 1000000}, {'g', 1000000000}};
  const auto unit = text.empty() ? units.end() : units.find(static_cast<char>(std::tolower(text.back())));
  char* end = nullptr;
  const double scaled =
      std::strtod(text.c_str(), &end) * (unit == units.end() ? 1.0 : static_cast<double>(unit->second));
  const bool whole =
      scaled == std::floor(scaled) && end != text.c_str() && end + (unit != units.end()) == text.c_str() + text.size();
  if (!whole) throw CLI::ValidationError(fmt::format("'{}' is not a whole number", text));
  if (!(std::fabs(scaled) < 9e15)) throw CLI::ValidationError(fmt::format("'{}' is too large", text));
  return std::to_string(static_cast<std::int64_t>(scaled));
}

/// What is wrong with a seed, or nothing.
std::string seed_error(const std::string& text) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  if (!digits) return fmt::format("'{}' is not a whole number from 0 on", text);
  errno = 0;
  std::strtoull(text.c_str(), nullptr, 10);
  return errno == ERANGE ? fmt::format("'{}' is too large", text) : std::string();
}

}  // namespace

Option Option::required() const { return Option(*option_->required()); }
Option Option::positive() const { return Option(*option_->check(CLI::PositiveNumber)); }
Option Option::type_name(const std::string& name) const { return Option(*option_->type_name(name)); }
Option Option::group(const std::string& name) const { return Option(*option_->group(name)); }

Command Command::add_subcommand(const std::string& name, const std::string& help) const {
  return Command(*app_->add_subcommand(name, help));
}

void Command::require_subcommand() const { app_->require_subcommand(1); }

Option Command::add_option(const std::string& name, std::string& value, const std::string& help) const {
  return add_with_default(*app_, name, value, help);
}

Option Command::add_option(const std::string& name, double& value, const std::string& help) const {
  return add_with_default(*app_, name, value, help);
}

Option Command::add_option(const std::string& name, int& value, const std::string& help) const {
  return add_with_default(*app_, name, value, help);
}

Option Command::add_option(const std::string& name, std::vector<std::string>& values, const std::string& help) const {
  return Option(
      *app_->add_option(name, values, help)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll));
}

Option Command::add_flag(const std::string& name, bool& value, const std::string& help) const {
  return Option(*app_->add_flag(name, value, help));
}

Option Command::add_integer(const std::string& name, std::int64_t& value, const std::string& help) const {
  return Option(*app_->add_option(name, value, help)->transform(without_unit)->capture_default_str());
}

Option Command::add_seed(std::uint64_t& seed, const std::string& help, const std::string& name) const {
  return Option(*app_->add_option(name, seed, help)->check(seed_error, "")->capture_default_str());
}

void Command::add_examples(const std::string& examples) const { app_->footer("Examples:\n" + examples); }

void Command::set_action(std::function<void()> action) const { app_->callback(std::move(action)); }

bool Command::is_given(const std::string& name) const { return app_->count(name) > 0; }

void Command::print_config() const {
  for (const CLI::Option* option : app_->get_options()) {
    if (option->get_lnames().empty() || option->get_name() == "--help") continue;
    const std::string name = option->get_name();
    const auto origin = option_origins().find(name);
    const bool is_flag = option->get_expected_max() == 0;
    const std::string value = option->count() > 0 ? option->results().back()
                              : is_flag           ? "false"
                                                  : option->get_default_str();
    std::cout << fmt::format("{} = {}  ({})\n", name.substr(2), value,
                             origin == option_origins().end() ? "default" : origin->second);
  }
}

}  // namespace gradus::tools
