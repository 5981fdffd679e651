#include "tests/fuzz/mutators.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "framework/io/checksum.h"

namespace gradus::fuzz {
namespace {

using Json = nlohmann::ordered_json;

std::string repeated(const std::string& text, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

// --- bytes ---

void change_bytes(std::string& bytes, Draw& draw) {
  const std::size_t at = draw.below(bytes.size() + 1);
  const std::size_t length = 1 + draw.below(draw.one_in(4) ? 64 : 4);
  switch (draw.below(7)) {
    case 0: if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << draw.below(8))); break;
    case 1: if (at < bytes.size()) bytes[at] = static_cast<char>(draw.below(256)); break;
    case 2: bytes.erase(std::min(at, bytes.size()), length); break;
    case 3: bytes.insert(at, bytes.substr(draw.below(bytes.size() + 1), length)); break;
    case 4: bytes.insert(at, std::string(length, static_cast<char>(draw.below(256)))); break;
    case 5: bytes.resize(at); break;
    default: bytes.insert(at, draw.of(std::vector<std::string>{"\"", "{", "}", "[", "]", ",", ":", "-1", "1e999", "18446744073709551616", "=", "#", "\\u0000"})); break;
  }
}

// --- texts ---

const std::vector<std::string>& oddities() {
  static const std::vector<std::string> all = {
      "\r", "\r\n", "\n", "\n\n", "\t", "\t\t", std::string(1, '\0'), "\x1b[2J", "\x7f", "\xef\xbb\xbf",  // a byte order mark
      "\xc2\x85", "\xc2\x9b", "\xc2\xa0", "\xe2\x80\xa8", "\xe2\x81\x87", "\xe2\x96\xa1",  // NEL, CSI, a no-break space, LS, the reserved two
      "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xf0\x9f\x98\x80", "\x80", "    "};
  return all;
}

std::string as_utf16(const std::string& text, bool little) {
  std::string wide = little ? "\xff\xfe" : "\xfe\xff";
  for (const char byte : text) wide += little ? std::string{byte, '\0'} : std::string{'\0', byte};
  return wide;
}

std::string with_line_ends(const std::string& text, const std::string& end) {
  std::string all;
  for (const char byte : text) all += byte == '\n' ? end : std::string(1, byte);
  return all;
}

void change_text(std::string& text, Draw& draw) {
  switch (draw.below(10)) {
    case 0: text = with_line_ends(text, "\r\n"); break;
    case 1: text = with_line_ends(text, "\r"); break;
    case 2: text = "\xef\xbb\xbf" + text; break;
    case 3: text = as_utf16(text, draw.one_in(2)); break;
    case 4: text.insert(draw.below(text.size() + 1), std::string(1 + draw.below(draw.one_in(8) ? 200000 : 2000), 'a')); break;
    case 5: while (text.ends_with('\n')) text.pop_back(); break;
    case 6: text = text.substr(text.find('\n') == std::string::npos ? 0 : text.find('\n') + 1); break;
    case 7: if (text.size() < 100000) text += text; break;
    default: text.insert(draw.below(text.size() + 1), draw.of(oddities())); break;
  }
}

// --- JSON ---

const Json& odd_value(Draw& draw) {
  static const std::vector<Json> all = {
      nullptr, true, false, 0, 1, -1, 2, 3, 7, 1.5, -0.0, 1e300, 1e-300, INT64_MAX, INT64_MIN, UINT64_MAX, std::int64_t{1} << 31, std::int64_t{1} << 32,
      std::int64_t{1} << 53, std::int64_t{1} << 62, 8999999999999999, 100000, "", "0", "1e999", "F32", "F16", "U8", "BOOL", "nan", "all",
      "\xc2\x9b\x1b[2J", "two\nlines", std::string(1, '\0'), std::string(5000, 'x'), Json::array(), Json::object(), Json::array({1, 2}), Json::array({0}),
      Json::array({0, 0, 0, 0, 0, 0, 0, 0, 0}), Json{{"a", 1}}};
  return draw.of(all);
}

/// Any value inside, or the whole.
Json& any_node(Json& tree, Draw& draw) {
  Json* node = &tree;
  while (node->is_structured() && !node->empty() && !draw.one_in(4)) {
    auto child = node->begin();
    std::advance(child, draw.below(node->size()));
    node = &*child;
  }
  return *node;
}

/// Stands for the name before it, a second time: a tree cannot hold both.
const std::string again_mark = "\x01" "again";

void change_members(Json& object, Draw& draw) {
  auto member = object.begin();
  std::advance(member, draw.below(object.size()));
  const std::string key = member.key();
  const Json value = member.value();
  switch (draw.below(4)) {
    case 0: object.erase(key); break;
    case 1: object[key + again_mark] = draw.one_in(2) ? value : odd_value(draw); break;
    case 2: object[draw.one_in(2) ? key + "x" : std::string(draw.of(oddities()))] = value; break;
    default: object.erase(key); object[key == "shape" ? "Shape" : "\xc2\x9b" + key] = value; break;
  }
}

void change_tree(Json& tree, Draw& draw) {
  Json& node = any_node(tree, draw);
  if (node.is_object() && !node.empty() && draw.one_in(2)) return change_members(node, draw);
  if (node.is_number_integer() && draw.one_in(2)) {
    static const std::vector<std::int64_t> steps = {-1, 1, 2, 4, 8, -8, 1000000};
    node = static_cast<std::int64_t>(node.get<std::uint64_t>() + static_cast<std::uint64_t>(draw.of(steps)));
    return;
  }
  if (node.is_array() && !node.empty() && draw.one_in(2)) {
    const Json copy = node[draw.below(node.size())];
    if (draw.one_in(3)) node.erase(draw.below(node.size()));
    else node.push_back(copy);
    return;
  }
  if (node.is_string() && draw.one_in(2)) {
    std::string text = node.get<std::string>();
    text.insert(draw.below(text.size() + 1), draw.of(oddities()));
    node = text;
    return;
  }
  node = odd_value(draw);
}

/// The text of a tree: bytes that are not UTF-8 as a replacement character.
std::string text_of(const Json& tree) {
  std::string text = tree.dump(-1, ' ', false, Json::error_handler_t::replace);
  const std::string mark = Json(again_mark).dump().substr(1, Json(again_mark).dump().size() - 2);
  for (std::size_t at; (at = text.find(mark)) != std::string::npos;) text.erase(at, mark.size());
  return text;
}

/// Whitespace, nesting and what else a tree does not have.
void change_json_text(std::string& text, Draw& draw) {
  const std::size_t depth = draw.one_in(2) ? 5 + draw.below(60) : 100000, colon = text.find(':', draw.below(text.size() + 1));
  const std::size_t at = colon == std::string::npos ? 0 : colon + 1;
  switch (draw.below(6)) {
    case 0: text.insert(at, repeated("[", depth)); break;
    case 1: text.insert(at, repeated("[", depth) + repeated("]", depth) + ",\"x\":"); break;  // a whole value
    case 2: text.insert(at, repeated("{\"a\":", depth) + "1" + repeated("}", depth) + ",\"x\":"); break;
    case 3: text += std::string(1 + draw.below(4), draw.one_in(2) ? '\0' : ' '); break;
    case 4: text = "\xef\xbb\xbf" + text; break;
    default: text.insert(at, repeated("9", 1 + draw.below(400))); break;
  }
}

/// Nothing, too, for what is nested so deeply that to write it again would take all of the stack.
Json parsed(const std::string& text) {
  constexpr int deepest = 500;
  int depth = 0;
  for (const char byte : text) {
    depth += (byte == '[' || byte == '{') - (byte == ']' || byte == '}');
    if (depth > deepest) return Json(Json::value_t::discarded);
  }
  return Json::parse(text, nullptr, false);
}

std::string changed_json(const std::string& text, Draw& draw) {
  Json tree = parsed(text);
  std::string changed = text;
  if (!tree.is_discarded() && !draw.one_in(5)) {
    for (std::size_t count = 1 + draw.below(3); count > 0; --count) change_tree(tree, draw);
    changed = text_of(tree);
  }
  if (tree.is_discarded() || draw.one_in(4)) draw.one_in(2) ? change_json_text(changed, draw) : change_text(changed, draw);
  return changed;
}

// --- safetensors ---

struct Parts {
  std::string header, data;
};

/// Nothing for what is no such file.
bool split(const std::string& bytes, Parts& parts) {
  std::uint64_t size = 0;
  if (bytes.size() < 8) return false;
  std::memcpy(&size, bytes.data(), 8);
  if (size > bytes.size() - 8) return false;
  parts = {bytes.substr(8, size), bytes.substr(8 + size)};
  return true;
}

std::string joined(const Parts& parts) {
  const std::uint64_t size = parts.header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + parts.header + parts.data;
}

/// A deep change: of the JSON in a text of the metadata, or of the text.
void change_metadata(Json& metadata, Draw& draw) {
  const auto is_json = [](const Json& value) { return value.is_string() && value.get_ref<const std::string&>().starts_with("{"); };
  auto entry = metadata.begin();
  std::advance(entry, draw.below(metadata.size()));
  if (draw.one_in(2)) entry = std::find_if(metadata.begin(), metadata.end(), is_json);
  if (entry == metadata.end() || !entry->is_string()) return change_tree(metadata, draw);
  std::string text = entry->get<std::string>();
  if (is_json(*entry)) text = changed_json(text, draw);
  else change_text(text, draw);
  *entry = text;
}

std::string changed_safetensors(const std::string& bytes, Draw& draw) {
  Parts parts;
  if (!split(bytes, parts)) {
    std::string changed = bytes;
    change_bytes(changed, draw);
    return changed;
  }
  Json header = parsed(parts.header);
  const bool has_metadata = header.is_object() && header.contains("__metadata__") && header["__metadata__"].is_object() && !header["__metadata__"].empty();
  switch (draw.below(5)) {
    case 0:
    case 1:
      if (has_metadata) change_metadata(header["__metadata__"], draw);
      break;
    case 2: change_bytes(parts.data, draw); break;
    default:
      if (!header.is_discarded()) change_tree(header, draw);
      break;
  }
  if (!header.is_discarded()) parts.header = text_of(header);
  if (draw.one_in(8)) change_json_text(parts.header, draw);
  const std::string changed = joined(parts);
  return draw.one_in(2) ? with_right_checksum(changed) : changed;
}

// --- words ---

void change_words(std::string& words, Draw& draw) {
  static const std::vector<std::string> values = {
      "", "-1", "0", "1e999", "nan", "9223372036854775808", "18446744073709551616", "1k", "8999999999999999", "all", "101%", "\xc2\x9b", "\x1b[2J",
      "--", "-", "=", "--=", "--seed", "--seed=", "--config=/dev/null", "--recipe", "--edition=2023", "--recipe=recall", "--help", "--op",
      "--threads=-1", "--input", "x=f64[99999999,99999999]", "x=f64[1e3]", "x=f64[2,3]:uniform(1,-1)", "axes=[1,1,1e300]", "{}", "[]", "%", "epochs"};
  const std::size_t at = words.find('\n', draw.below(words.size() + 1));
  switch (draw.below(6)) {
    case 0: words.insert(std::min(at, words.size()), "\n" + draw.of(values)); break;
    case 1: if (at != std::string::npos) words.erase(at, words.find('\n', at + 1) - at); break;
    case 2: if (at != std::string::npos) words[at] = '='; break;
    case 3: words += "\n" + words.substr(0, words.find('\n')); break;
    case 4: words.insert(draw.below(words.size() + 1), draw.of(values)); break;
    default: change_bytes(words, draw); break;
  }
}

}  // namespace

std::string with_right_checksum(const std::string& bytes) {
  const std::string key = "\"checksum_xxh3_128\":\"";
  Parts parts;
  if (!split(bytes, parts)) return bytes;
  const std::size_t found = parts.header.find(key);
  if (found == std::string::npos || found + key.size() + io::checksum_digits > parts.header.size()) return bytes;
  const std::size_t digits = bytes.size() - parts.data.size() - parts.header.size() + found + key.size();
  std::string right = bytes;
  right.replace(digits, io::checksum_digits, std::string(io::checksum_digits, '0'));
  right.replace(digits, io::checksum_digits, io::checksum(right));
  return right;
}

std::string mutant(Form form, std::string bytes, Draw& draw) {
  for (std::size_t count = 1 + draw.below(3); count > 0; --count) {
    if (draw.one_in(8)) {
      change_bytes(bytes, draw);
      continue;
    }
    switch (form) {
      case Form::safetensors: bytes = changed_safetensors(bytes, draw); break;
      case Form::json: bytes = changed_json(bytes, draw); break;
      case Form::text: change_text(bytes, draw); break;
      case Form::words: change_words(bytes, draw); break;
    }
  }
  return bytes;
}

}  // namespace gradus::fuzz
