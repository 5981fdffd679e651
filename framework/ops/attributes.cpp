#include "framework/ops/attributes.h"

#include <algorithm>

#include <fmt/ranges.h>

namespace gradus {

std::string to_string(const AttributeValue& value) {
  return std::visit([](const auto& held) { return fmt::format("{}", held); }, value);
}

const AttributeValue* Attributes::find(const std::string& name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.first == name; });
  return found == entries_.end() ? nullptr : &found->second;
}

void Attributes::set(const std::string& name, AttributeValue value) {
  for (Entry& entry : entries_) {
    if (entry.first == name) {
      entry.second = std::move(value);
      return;
    }
  }
  entries_.emplace_back(name, std::move(value));
}

std::string to_string(const Attributes& attributes) {
  std::string text;
  for (const auto& [name, value] : attributes) text += (text.empty() ? "" : ", ") + name + "=" + to_string(value);
  return text;
}

}  // namespace gradus
