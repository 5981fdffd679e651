// Amounts of tokens as options give them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace gradus::tools {

/// `10240`, `10k`, `1%` of the run, `200 epochs` or `all` of the run.
struct TokenAmount {
  enum class Unit { tokens, percent, epochs, all };
  double number = 0;
  Unit unit = Unit::all;
};

/// Throws UsageError, with the flag, for what is none of these.
TokenAmount parse_token_amount(const std::string& flag, const std::string& text);

/// Steps: their number as in parse_size, `epoch` or `5 epochs` of so many steps; nothing for other text.
std::optional<std::int64_t> parse_steps(const std::string& text, std::int64_t steps_per_epoch);

/// A whole number of any sign, also 4k, 2m or 1g; nothing for other text, or beyond 9e15.
std::optional<std::int64_t> parse_size(const std::string& text);

}  // namespace gradus::tools
