#include "tools/token_amounts.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <map>

#include "framework/base/error.h"

namespace gradus::tools {
namespace {

/// The number before `ending`, which blanks may separate.
std::optional<double> number_before(const std::string& text, const std::string& ending) {
  if (!text.ends_with(ending)) return {};
  const std::string number = text.substr(0, text.size() - ending.size());
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  while (*end == ' ') ++end;
  if (end == number.c_str() || *end != '\0') return {};
  return value;
}

/// The number in `2.5 epochs` or `1 epoch`.
std::optional<double> epochs_in(const std::string& text) {
  const auto count = number_before(text, text.ends_with("s") ? "epochs" : "epoch");
  return count && *count > 0 && *count < 1e9 ? count : std::nullopt;
}

}  // namespace

std::optional<std::int64_t> parse_size(const std::string& text) {
  static const std::map<char, double> units = {{'k', 1e3}, {'m', 1e6}, {'g', 1e9}};
  if (text.empty()) return {};
  const auto unit = units.find(static_cast<char>(std::tolower(static_cast<unsigned char>(text.back()))));
  const bool has_unit = unit != units.end();
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end) * (has_unit ? unit->second : 1);
  if (end == text.c_str() || end + has_unit != text.c_str() + text.size()) return {};
  if (value != std::floor(value) || !(std::fabs(value) < 9e15)) return {};
  return static_cast<std::int64_t>(value);
}

std::optional<std::int64_t> parse_steps(const std::string& text, std::int64_t steps_per_epoch) {
  if (text == "epoch") return steps_per_epoch;
  const auto epochs = epochs_in(text);
  if (!epochs) return parse_size(text);
  return std::max<std::int64_t>(1, std::llround(*epochs * static_cast<double>(steps_per_epoch)));
}

TokenAmount parse_token_amount(const std::string& flag, const std::string& text) {
  using enum TokenAmount::Unit;
  if (text == "all") return {1, all};
  if (const auto share = number_before(text, "%"); share && *share >= 0 && *share < 100) return {*share, percent};
  if (const auto count = epochs_in(text)) return {*count, epochs};
  if (const auto count = parse_size(text); count && *count >= 0) return {static_cast<double>(*count), tokens};
  fail<UsageError>("{} '{}': expected a number of tokens (10240, 10k), a share of the run (1%), epochs (200 epochs) or all",
                   flag, text);
}

}  // namespace gradus::tools
