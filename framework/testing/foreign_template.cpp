#include <algorithm>
#include <regex>

#include "framework/testing/foreign_op.h"
#include "framework/testing/foreign_texts.h"

namespace gradus::testing {

std::string foreign_op_template(const std::string& name) {
  static const std::regex identifier("[A-Za-z][A-Za-z0-9_]{0,47}");
  if (!std::regex_match(name, identifier)) {
    fail<UsageError>("'{}' cannot name an op in C: a letter is needed, then letters, digits and _, at most 48 in all",
                     name);
  }
  const std::string text = my_op_text, example_name = "my_op";
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = std::min(text.find(example_name, at), text.size());
    result.append(text, at, next - at);
    if (next < text.size()) result += name;
    at = next + example_name.size();
  }
  return result;
}

const std::string& foreign_op_header() {
  static const std::string text = gradus_op_header_text;
  return text;
}

}  // namespace gradus::testing
