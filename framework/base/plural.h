// Counts in prose.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gradus {

/// `3,323,392`.
std::string with_separators(std::int64_t number);

/// A number inside a sentence: with separators above 9,999.
std::string in_prose(std::int64_t number);

/// `1 step`, `2 steps`, `27,600 steps`: `several` where the plural is not the noun and an s.
std::string plural(std::int64_t count, std::string_view noun, std::string_view several = {});

}  // namespace gradus
