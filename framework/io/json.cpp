#include "framework/io/json.h"

#include <algorithm>
#include <set>
#include <vector>

#include "framework/base/error.h"

namespace gradus::io {
namespace {

/// "line 3, column 7", both from 1.
std::string place(std::string_view text, std::size_t position) {
  const std::string_view before = text.substr(0, std::min(position, text.size()));
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return fmt::format("line {}, column {}", 1 + std::count(before.begin(), before.end(), '\n'), 1 + before.size() - line_start);
}

/// Sees every token once and keeps the keys of the objects that are open.
class Check final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Check(std::string_view text, const std::string& what) : text_(text), what_(what) {}
  bool start_object(std::size_t) override { return open(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) fail<DataError>("{}: the key {} is there twice", what_, in_quotes(name));
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool parse_error(std::size_t read, const std::string&, const nlohmann::json::exception& error) override {
    constexpr int number_overflow = 406;
    const std::size_t position = read > 0 ? read - 1 : 0;  // of the character that did not fit
    if (error.id == number_overflow) fail<DataError>("{}: not valid JSON: a number is too large at {}", what_, place(text_, position));
    if (position >= text_.size()) fail<DataError>("{}: not valid JSON: it ends too early, at {}", what_, place(text_, position));
    fail<DataError>("{}: not valid JSON: wrong at {}", what_, place(text_, position));
  }

 private:
  bool open() {
    if (keys_.size() == deepest_json) fail<DataError>("{}: nested too deeply: at most {} objects and lists inside each other are read", what_, deepest_json);
    keys_.emplace_back();
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }

  std::string_view text_;
  const std::string& what_;
  std::vector<std::set<std::string>> keys_;
};

/// Escaped: neither a control character nor half of a character is left.
std::string bounded(const std::string& escaped) {
  constexpr std::size_t longest = 200;
  return escaped.size() <= longest ? escaped : escaped.substr(0, longest) + "...";
}

std::string escaped(const nlohmann::json& value) { return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace); }

}  // namespace

void require_json(std::string_view text, const std::string& what) {
  if (text.starts_with("\xEF\xBB\xBF")) fail<DataError>("{}: not valid JSON: it begins with a byte order mark", what);
  if (const auto nul = text.find('\0'); nul != std::string_view::npos)  // the library takes it for the end
    fail<DataError>("{}: not valid JSON: a NUL byte at {}", what, place(text, nul));
  Check check(text, what);
  nlohmann::json::sax_parse(text, &check);
}

std::string brief(const nlohmann::json& value) { return bounded(escaped(value)); }

std::string reason_of(const nlohmann::json::exception& error) {
  const std::string text = error.what();
  const std::size_t end = text.find("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

std::string in_quotes(const std::string& name) {
  const std::string text = escaped(name);
  return "'" + bounded(text.substr(1, text.size() - 2)) + "'";
}

}  // namespace gradus::io
