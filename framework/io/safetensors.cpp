#include "framework/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/io/files.h"
#include "framework/kernels/elements.h"

namespace gradus::io {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little endian");

using Json = nlohmann::json;
constexpr const char* checksum_key = "checksum";
constexpr std::uint64_t fnv_start = 0xcbf29ce484222325u, fnv_prime = 0x100000001b3u;

const std::vector<std::pair<DType, std::string>>& dtype_names() {
  static const std::vector<std::pair<DType, std::string>> names = {
      {DType::f64, "F64"}, {DType::f32, "F32"}, {DType::bf16, "BF16"}, {DType::i64, "I64"}, {DType::i32, "I32"}, {DType::u8, "U8"}, {DType::boolean, "BOOL"}};
  return names;
}

std::uint64_t fnv(std::uint64_t hash, const void* bytes, std::size_t count) {
  // Eight bytes at a time: a byte-wise loop would take longer than the disk.
  const auto* data = static_cast<const unsigned char*>(bytes);
  for (; count >= 8; data += 8, count -= 8) {
    std::uint64_t word;
    std::memcpy(&word, data, 8);
    hash = (hash ^ word) * fnv_prime;
  }
  for (; count > 0; ++data, --count) hash = (hash ^ *data) * fnv_prime;
  return hash;
}

std::size_t byte_count(const Tensor& tensor) { return tensor.numel() * size_in_bytes(tensor.dtype()); }

/// First reading of a header, in linear time: refuses what the second would swallow, names that are there twice and
/// nesting without end.
class HeaderCheck : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderCheck(const std::string& path) : path_(path) {}
  bool start_object(std::size_t) override { return open(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_object() override { return --depth_ >= 0; }
  bool end_array() override { return --depth_ >= 0; }
  bool key(string_t& name) override {
    if (depth_ == 1 && !names_.insert(name).second) fail<DataError>("{}: the tensor '{}' is there twice", path_, name);
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override { return false; }

 private:
  bool open() {
    constexpr int deepest = 3;  // {"name": {"shape": [
    if (++depth_ > deepest) fail<DataError>("{}: not a safetensors file: its header is nested too deeply", path_);
    return true;
  }
  const std::string& path_;
  std::set<std::string> names_;
  int depth_ = 0;
};

/// Everything that can be wrong with an entry of the header is checked before a byte is allocated.
struct Entry {
  std::string name;
  DType dtype;
  Shape shape;
  std::uint64_t begin, end;
};

Entry parse_entry(const std::string& path, const std::string& name, const Json& value, std::uint64_t data_size) {
  const auto damaged = [&](const std::string& what) { fail<DataError>("{}: tensor '{}' {}", path, name, what); };
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") || !value.contains("data_offsets") ||
      !value["dtype"].is_string() || !value["shape"].is_array() || !value["data_offsets"].is_array() || value["data_offsets"].size() != 2) {
    damaged("has no complete description (dtype, shape, data_offsets)");
  }
  Entry entry{name, DType::f32, {}, 0, 0};
  const std::string dtype = value["dtype"];
  const auto known = std::find_if(dtype_names().begin(), dtype_names().end(), [&](const auto& pair) { return pair.second == dtype; });
  if (known == dtype_names().end()) damaged("has the dtype " + dtype + ", which is not supported");
  entry.dtype = known->first;
  if (value["shape"].size() > max_rank) damaged(fmt::format("has {} axes, at most {} are supported", value["shape"].size(), max_rank));
  std::uint64_t elements = 1;
  bool overflow = false, empty = false;
  for (const Json& size : value["shape"]) {
    if (!size.is_number_unsigned() || size.get<std::uint64_t>() > INT64_MAX) damaged("has an impossible shape " + value["shape"].dump());
    entry.shape.push_back(size.get<std::int64_t>());
    empty |= entry.shape.back() == 0;
    overflow |= __builtin_mul_overflow(elements, static_cast<std::uint64_t>(std::max<std::int64_t>(entry.shape.back(), 1)), &elements);
  }
  for (const Json& offset : value["data_offsets"]) {
    if (!offset.is_number_unsigned()) damaged("has impossible offsets " + value["data_offsets"].dump());
  }
  entry.begin = value["data_offsets"][0];
  entry.end = value["data_offsets"][1];
  if (entry.begin > entry.end || entry.end > data_size) {
    damaged(fmt::format("lies at bytes {}..{}, but the file holds {} bytes of data: it is truncated or damaged", entry.begin, entry.end, data_size));
  }
  std::uint64_t bytes = 0;
  overflow |= __builtin_mul_overflow(empty ? 0 : elements, static_cast<std::uint64_t>(size_in_bytes(entry.dtype)), &bytes);
  if (overflow || bytes != entry.end - entry.begin) {
    damaged(fmt::format("of shape {} {} does not fill its {} bytes", value["shape"].dump(), dtype, entry.end - entry.begin));
  }
  return entry;
}

}  // namespace

Tensor SafetensorsFile::find(const std::string& name) const {
  for (const auto& [other, tensor] : tensors) {
    if (other == name) return tensor;
  }
  return {};
}

const std::string& SafetensorsFile::require(const std::string& key, const std::string& path) const {
  const auto found = metadata.find(key);
  if (found == metadata.end()) fail<DataError>("{}: the metadata has no '{}': not a file of this kind", path, key);
  return found->second;
}

std::string checksum(const void* bytes, std::size_t count) { return fmt::format("{:016x}", fnv(fnv_start, bytes, count)); }

SafetensorsFile read_safetensors(const std::string& path) {
  const std::string bytes = read_file(path);
  if (bytes.size() < 8) fail<DataError>("{}: not a safetensors file: {} bytes are too few for a header", path, bytes.size());
  std::uint64_t header_size;
  std::memcpy(&header_size, bytes.data(), 8);
  if (header_size > bytes.size() - 8) {
    fail<DataError>("{}: not a safetensors file, or truncated: a header of {} bytes is announced, {} bytes follow", path, header_size, bytes.size() - 8);
  }
  Json header;
  try {
    const auto begin = bytes.begin() + 8, end = begin + static_cast<std::ptrdiff_t>(header_size);
    HeaderCheck check(path);
    Json::sax_parse(begin, end, &check);
    header = Json::parse(begin, end);
  } catch (const nlohmann::json::exception&) {
    fail<DataError>("{}: not a safetensors file: its header is not JSON", path);
  }
  if (!header.is_object()) fail<DataError>("{}: not a safetensors file: its header is not a JSON object", path);

  SafetensorsFile file;
  const char* data = bytes.data() + 8 + header_size;
  const std::uint64_t data_size = bytes.size() - 8 - header_size;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      entries.push_back(parse_entry(path, name, value, data_size));
      continue;
    }
    if (!value.is_object()) fail<DataError>("{}: its metadata is not a JSON object", path);
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) fail<DataError>("{}: the metadata '{}' is not a string", path, key);
      file.metadata[key] = text;
    }
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::uint64_t expected = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != expected) fail<DataError>("{}: tensor '{}' begins at byte {}, expected {}: tensors overlap or leave holes", path, entry.name, entry.begin, expected);
    expected = entry.end;
  }
  if (expected != data_size) fail<DataError>("{}: {} bytes follow the last tensor", path, data_size - expected);
  if (const auto found = file.metadata.find(checksum_key); found != file.metadata.end()) {
    if (found->second != checksum(data, data_size)) fail<DataError>("{}: the checksum does not match: the file is damaged", path);
    file.metadata.erase(found);
  }
  for (const Entry& entry : entries) {
    const auto is_truth = [](char byte) { return byte == 0 || byte == 1; };
    if (entry.dtype == DType::boolean && !std::all_of(data + entry.begin, data + entry.end, is_truth)) {
      fail<DataError>("{}: tensor '{}' holds a byte that is neither 0 nor 1", path, entry.name);
    }
    const Tensor tensor = Tensor::empty(entry.shape, entry.dtype);
    if (entry.end > entry.begin) std::memcpy(tensor.bytes(), data + entry.begin, entry.end - entry.begin);
    file.tensors.emplace_back(entry.name, tensor);
  }
  return file;
}

void write_safetensors(const std::string& path, const SafetensorsFile& file) {
  std::string data;
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  header["__metadata__"] = Json::object();
  for (const auto& [key, text] : file.metadata) {
    header["__metadata__"][key] = text;
    try {
      header["__metadata__"].back().dump();
    } catch (const nlohmann::json::exception&) {
      fail("{}: the metadata '{}' is not UTF-8", path, key);
    }
  }
  for (const auto& [name, tensor] : file.tensors) {
    if (header.contains(name)) fail("two tensors are named '{}'", name);
    const Tensor packed = elements::contiguous(on_device(tensor, {}));
    const std::size_t begin = data.size();
    data.append(static_cast<const char*>(packed.bytes()), byte_count(packed));
    const auto dtype = std::find_if(dtype_names().begin(), dtype_names().end(), [&](const auto& pair) { return pair.first == packed.dtype(); });
    header[name] = {{"dtype", dtype->second}, {"shape", packed.shape().to_vector()}, {"data_offsets", {begin, data.size()}}};
  }
  header["__metadata__"][checksum_key] = checksum(data.data(), data.size());
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  write_file_atomically(path, [&](std::ostream& out) {
    const std::uint64_t size = text.size();
    out.write(reinterpret_cast<const char*>(&size), 8);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    out.write(data.data(), static_cast<std::streamsize>(data.size()));
  });
}

}  // namespace gradus::io
