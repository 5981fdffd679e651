#include "framework/base/plural.h"

namespace gradus {

std::string with_separators(std::int64_t number) {
  std::string digits = std::to_string(number);
  const int first = number < 0 ? 1 : 0;
  for (int place = static_cast<int>(digits.size()) - 3; place > first; place -= 3) digits.insert(place, ",");
  return digits;
}

std::string in_prose(std::int64_t number) {
  return number > 9999 || number < -9999 ? with_separators(number) : std::to_string(number);
}

std::string plural(std::int64_t count, std::string_view noun, std::string_view several) {
  std::string text = in_prose(count) + " ";
  if (count == 1) return text.append(noun);
  return several.empty() ? text.append(noun) + "s" : text.append(several);
}

}  // namespace gradus
