#include "framework/io/safetensors_header.h"

#include <algorithm>
#include <tuple>

#include "framework/base/error.h"
#include "framework/io/json.h"

namespace gradus::io {
namespace {

using Json = nlohmann::json;

const std::map<std::string, std::uint64_t>& bits_of_dtypes() {
  static const std::map<std::string, std::uint64_t> bits = {
      {"BOOL", 8},        {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},   {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8},
      {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E8M0", 8}, {"I16", 16},    {"U16", 16}, {"F16", 16}, {"BF16", 16},   {"I32", 32},
      {"U32", 32},        {"F32", 32}, {"C64", 64},    {"F64", 64},    {"I64", 64}, {"U64", 64}};
  return bits;
}

struct EntryReader {
  const std::string& path;
  const std::string name;
  const std::uint64_t data_size;

  template <class... Args>
  [[noreturn]] void damaged(fmt::format_string<Args...> what, Args&&... args) const {
    fail<DataError>("{}: tensor {} {}", path, in_quotes(name), fmt::format(what, std::forward<Args>(args)...));
  }

  std::vector<std::uint64_t> numbers(const Json& list, const char* what) const {
    std::vector<std::uint64_t> all;
    for (const Json& number : list) {
      if (!number.is_number_unsigned()) damaged("has {} {}", what, brief(list));
      all.push_back(number.get<std::uint64_t>());
    }
    return all;
  }

  TensorEntry read(const Json& value) const {
    const auto is = [&](const char* field, bool (Json::*of_type)() const) { return value.contains(field) && (value[field].*of_type)(); };
    if (!value.is_object() || !is("dtype", &Json::is_string) || !is("shape", &Json::is_array) || !is("data_offsets", &Json::is_array) ||
        value["data_offsets"].size() != 2) {
      damaged("has no complete description (dtype, shape, data_offsets)");
    }
    const std::vector<std::uint64_t> offsets = numbers(value["data_offsets"], "impossible offsets");
    TensorEntry entry{name, value["dtype"], numbers(value["shape"], "an impossible shape"), offsets[0], offsets[1]};
    const auto bits = bits_of_dtypes().find(entry.dtype);
    if (bits == bits_of_dtypes().end()) damaged("has the dtype {}, which the format does not know", brief(entry.dtype));
    if (entry.begin > entry.end || entry.end > data_size) {
      damaged("lies at bytes {}..{}, but the file holds {} bytes of data: it is truncated or damaged", entry.begin, entry.end, data_size);
    }
    std::uint64_t size = 1;
    bool overflow = false;
    for (const std::uint64_t length : entry.shape) overflow |= __builtin_mul_overflow(size, length, &size);
    overflow |= __builtin_mul_overflow(size, bits->second, &size);
    if (overflow || size % 8 != 0 || size / 8 != entry.bytes())
      damaged("of shape {} {} does not fill its {} bytes", brief(value["shape"]), entry.dtype, entry.bytes());
    return entry;
  }
};

std::map<std::string, std::string> read_metadata(const Json& value, const std::string& path) {
  std::map<std::string, std::string> metadata;
  if (value.is_null()) return metadata;
  if (!value.is_object()) fail<DataError>("{}: its metadata is not a JSON object", path);
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) fail<DataError>("{}: the metadata {} is not a string", path, in_quotes(key));
    metadata[key] = text;
  }
  return metadata;
}

}  // namespace

std::uint64_t TensorEntry::elements() const {
  std::uint64_t product = 1;
  for (const std::uint64_t length : shape) product *= length;
  return product;
}

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_size, const std::string& path) {
  const Json json = parse_json(text, path + ": its header");
  if (!json.is_object()) fail<DataError>("{}: its header is not a JSON object", path);
  SafetensorsHeader header;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") header.metadata = read_metadata(value, path);
    else header.entries.push_back(EntryReader{path, name, data_size}.read(value));
  }
  std::ranges::sort(header.entries, {}, [](const TensorEntry& entry) { return std::tie(entry.begin, entry.end, entry.name); });
  std::uint64_t expected = 0;
  for (const TensorEntry& entry : header.entries) {
    if (entry.begin != expected)
      fail<DataError>("{}: tensor {} begins at byte {}, expected {}: tensors overlap or leave holes", path, in_quotes(entry.name), entry.begin, expected);
    expected = entry.end;
  }
  if (expected != data_size) fail<DataError>("{}: {} bytes follow the last tensor", path, data_size - expected);
  return header;
}

}  // namespace gradus::io
