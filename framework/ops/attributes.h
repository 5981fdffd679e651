// The named constants of an op call: axis, probability, seed.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "framework/base/error.h"

namespace gradus {

using AttributeValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>>;

/// `true`, `3`, `0.5`, `text`, `[1,2]`.
std::string to_string(const AttributeValue& value);

class Attributes {
 public:
  using Entry = std::pair<std::string, AttributeValue>;
  Attributes() = default;
  Attributes(std::initializer_list<Entry> entries) : entries_(entries) {}

  const AttributeValue* find(const std::string& name) const;
  void set(const std::string& name, AttributeValue value);
  bool empty() const { return entries_.empty(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

  /// The value of type T. Throws where the name is absent or the type is another.
  template <class T>
  const T& get(const std::string& name) const {
    const AttributeValue* value = find(name);
    if (!value) fail("attribute '{}' is missing", name);
    const T* typed = std::get_if<T>(value);
    if (!typed) fail("attribute '{}' has the wrong type: {}", name, to_string(*value));
    return *typed;
  }
  std::int64_t integer(const std::string& name) const { return get<std::int64_t>(name); }
  double number(const std::string& name) const { return get<double>(name); }
  bool flag(const std::string& name) const { return get<bool>(name); }
  const std::string& text(const std::string& name) const { return get<std::string>(name); }
  const std::vector<std::int64_t>& integers(const std::string& name) const { return get<std::vector<std::int64_t>>(name); }

 private:
  std::vector<Entry> entries_;
};

/// `axis=1, keep=true`
std::string to_string(const Attributes& attributes);

}  // namespace gradus
