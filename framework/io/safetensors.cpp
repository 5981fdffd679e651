#include "framework/io/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include <fmt/ranges.h>

#include "framework/base/error.h"
#include "framework/io/checksum.h"
#include "framework/io/file_kind.h"
#include "framework/io/files.h"
#include "framework/io/float16.h"
#include "framework/io/input_file.h"
#include "framework/io/json.h"
#include "framework/kernels/elements.h"
#include "framework/tensor/memory_report.h"

namespace gradus::io {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little endian");

using Json = nlohmann::json;
const std::string checksum_key = "checksum_xxh3_128", old_checksum_key = "checksum";

const std::vector<std::pair<DType, std::string>>& dtype_names() {
  static const std::vector<std::pair<DType, std::string>> names = {
      {DType::f64, "F64"}, {DType::f32, "F32"}, {DType::bf16, "BF16"}, {DType::i64, "I64"}, {DType::i32, "I32"}, {DType::u8, "U8"}, {DType::boolean, "BOOL"}};
  return names;
}

/// What stands in front of the checksum's digits. Inside a JSON string the quotes would be escaped, so this is found only
/// where it is the key.
std::string before_digits() { return "\"" + checksum_key + "\":\""; }

/// The header with '0' for each digit of its checksum.
std::string without_digits(std::string header) {
  const auto found = header.find(before_digits());
  if (found == std::string::npos) return header;
  const std::size_t begin = found + before_digits().size();
  for (std::size_t i = begin; i < std::min(begin + checksum_digits, header.size()); ++i) header[i] = '0';
  return header;
}

std::string as_bytes(std::uint64_t number) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &number, 8);
  return bytes;
}

/// A file whose header has been read; its data come in parts, and what was read is summed up on the way.
class Reading {
 public:
  explicit Reading(InputFile& file) : file_(file) {
    const std::string text = read_header();
    header_ = parse_safetensors_header(text, file_.left(), file_.path());
    sum_.add(as_bytes(text.size()));
    sum_.add(without_digits(text));
  }

  SafetensorsHeader& header() { return header_; }
  std::uint64_t left() const { return file_.left(); }

  void read(void* to, std::uint64_t count) {
    file_.read(to, count);
    sum_.add(to, count);
    if (header_.metadata.contains(old_checksum_key)) old_sum_.add(to, count);
  }

  /// After all of the data. Takes the checksums out of the metadata.
  Verified verify() {
    const auto matches = [&](const std::string& key, const std::string& computed) {
      const auto node = header_.metadata.extract(key);
      if (!node.empty() && node.mapped() != computed)
        fail<DataError>("{}: the checksum does not match: the file is damaged, or another program changed it and kept the checksum", file_.path());
      return !node.empty();
    };
    if (matches(checksum_key, sum_.digits())) return Verified::everything;
    return matches(old_checksum_key, old_sum_.digits()) ? Verified::data : Verified::nothing;
  }

 private:
  std::string read_header() {
    const std::string& path = file_.path();
    const std::string start = file_.beginning(telling_bytes);
    std::uint64_t size = 0;
    std::memcpy(&size, start.data(), std::min<std::size_t>(start.size(), 8));
    const bool plausible = start.size() > 8 && size <= longest_header && std::string_view("{ \t\r\n").find(start[8]) != std::string_view::npos;
    if (const std::string kind = foreign_kind(start); !plausible && !kind.empty()) fail<DataError>("{}: not a safetensors file but {}", path, kind);
    if (start.size() < 8) fail<DataError>("{}: not a safetensors file: {} bytes are too few for a header", path, start.size());
    if (size > file_.size() - 8) {
      fail<DataError>("{}: not a safetensors file, or truncated: a header of {} bytes is announced, {} bytes follow", path, size, file_.size() - 8);
    }
    if (size > longest_header)
      fail<DataError>("{}: not a safetensors file: a header of {} bytes is announced, the format allows {}", path, size, longest_header);
    std::uint64_t announced;
    file_.read(&announced, 8);
    if (announced != size) fail<DataError>("{}: changed while it was read", path);
    std::string text(size, '\0');
    file_.read(text.data(), size);
    return text;
  }

  InputFile& file_;
  SafetensorsHeader header_;
  Checksum sum_;
  OldChecksum old_sum_;
};

void require_memory(const std::string& path, std::uint64_t bytes) {
  const auto readable = [](std::uint64_t count) { return readable_bytes(static_cast<std::int64_t>(count)); };
  if (bytes > machine_memory())
    fail<DataError>("{}: its tensors need {}, this machine has {} of memory", path, readable(bytes), readable(machine_memory()));
}

/// The dtype in memory.
DType dtype_of(const TensorEntry& entry, const std::string& path) {
  if (entry.dtype == "F16") return DType::f32;
  const auto known = std::ranges::find(dtype_names(), entry.dtype, &std::pair<DType, std::string>::second);
  if (known == dtype_names().end()) fail<DataError>("{}: tensor {} has the dtype {}, which is not supported", path, in_quotes(entry.name), entry.dtype);
  return known->first;
}

Shape shape_of(const TensorEntry& entry, const std::string& path) {
  if (entry.shape.size() > max_rank) {
    fail<DataError>("{}: tensor {} has {} axes, at most {} are supported", path, in_quotes(entry.name), entry.shape.size(), max_rank);
  }
  Shape shape;
  std::int64_t stride = 1;
  for (const std::uint64_t length : entry.shape) {
    // Only an empty tensor can have such axes.
    if (length > INT64_MAX || __builtin_mul_overflow(stride, static_cast<std::int64_t>(std::max<std::uint64_t>(length, 1)), &stride))
      fail<DataError>("{}: tensor {} has axes too long to be supported", path, in_quotes(entry.name));
    shape.push_back(static_cast<std::int64_t>(length));
  }
  return shape;
}

/// The next tensor of a file; F16 is widened.
Tensor read_tensor(Reading& reading, const TensorEntry& entry, DType dtype, const Shape& shape) {
  const Tensor tensor = Tensor::empty(shape, dtype);
  if (entry.bytes() == 0) return tensor;
  if (entry.dtype != "F16") {
    reading.read(tensor.bytes(), entry.bytes());
    return tensor;
  }
  std::vector<std::uint16_t> halves(entry.elements());
  reading.read(halves.data(), entry.bytes());
  std::ranges::transform(halves, static_cast<float*>(tensor.bytes()), widen_float16);
  return tensor;
}

/// "(3,7)" of the element that is so far behind the first.
std::string coordinates(const Shape& shape, std::int64_t place) {
  std::vector<std::int64_t> all;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    all.insert(all.begin(), place % shape[axis]);
    place /= shape[axis];
  }
  return fmt::format("({})", fmt::join(all, ","));
}

template <class Stored, class Widen>
std::uint64_t count_not_finite(const std::string& bytes, Widen widen) {
  std::uint64_t count = 0;
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(Stored)) {
    std::array<char, sizeof(Stored)> stored;
    std::copy_n(bytes.data() + at, sizeof(Stored), stored.begin());
    count += !std::isfinite(widen(std::bit_cast<Stored>(stored)));
  }
  return count;
}

/// `bytes`: whole elements.
std::uint64_t count_not_finite(const std::string& dtype, const std::string& bytes) {
  if (dtype == "F64") return count_not_finite<double>(bytes, [](double x) { return x; });
  if (dtype == "F32") return count_not_finite<float>(bytes, [](float x) { return x; });
  if (dtype == "F16") return count_not_finite<std::uint16_t>(bytes, widen_float16);
  if (dtype == "BF16") return count_not_finite<std::uint16_t>(bytes, [](std::uint16_t x) { return std::bit_cast<float>(std::uint32_t{x} << 16); });
  return 0;
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

SafetensorsFile read_safetensors(const std::string& path) {
  InputFile input(path, UINT64_MAX);
  Reading reading(input);
  require_memory(path, reading.left());
  SafetensorsFile file;
  for (const TensorEntry& entry : reading.header().entries) {
    dtype_of(entry, path), shape_of(entry, path);  // before memory is asked for
  }
  for (const TensorEntry& entry : reading.header().entries) {
    file.tensors.emplace_back(entry.name, read_tensor(reading, entry, dtype_of(entry, path), shape_of(entry, path)));
  }
  file.verified = reading.verify();
  file.metadata = std::move(reading.header().metadata);
  for (const auto& [name, tensor] : file.tensors) {
    const auto* bytes = static_cast<const unsigned char*>(tensor.bytes());
    if (tensor.dtype() == DType::boolean && std::any_of(bytes, bytes + tensor.numel(), [](unsigned char byte) { return byte > 1; }))
      fail<DataError>("{}: tensor {} holds a byte that is neither 0 nor 1", path, in_quotes(name));
  }
  return file;
}

SafetensorsContents inspect_safetensors(InputFile& file) {
  constexpr std::uint64_t piece = 1 << 20;
  Reading reading(file);
  SafetensorsContents contents;
  for (const TensorEntry& entry : reading.header().entries) {
    contents.tensors.push_back({entry});
    std::string bytes;
    for (std::uint64_t left = entry.bytes(); left > 0; left -= bytes.size()) {
      bytes.resize(std::min(left, piece));
      reading.read(bytes.data(), bytes.size());
      contents.tensors.back().not_finite += count_not_finite(entry.dtype, bytes);
    }
  }
  contents.verified = reading.verify();
  contents.metadata = std::move(reading.header().metadata);
  return contents;
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
  header["__metadata__"][checksum_key] = std::string(checksum_digits, '0');
  for (const auto& [name, tensor] : file.tensors) {
    if (header.contains(name)) fail("two tensors are named '{}'", name);
    const Tensor packed = elements::contiguous(on_device(tensor, {}));
    const std::size_t begin = data.size();
    data.append(static_cast<const char*>(packed.bytes()), static_cast<std::size_t>(packed.numel()) * size_in_bytes(packed.dtype()));
    const auto dtype = std::ranges::find(dtype_names(), packed.dtype(), &std::pair<DType, std::string>::first);
    header[name] = {{"dtype", dtype->second}, {"shape", packed.shape().to_vector()}, {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > longest_header) fail<OutputError>("{}: its header would have {} bytes, the format allows {}", path, text.size(), longest_header);
  const std::string size = as_bytes(text.size());
  Checksum sum;
  sum.add(size), sum.add(text), sum.add(data);
  text.replace(text.find(before_digits()) + before_digits().size(), checksum_digits, sum.digits());
  write_file_atomically(path, [&](std::ostream& out) {
    out << size << text << data;
  });
}

void require_finite(const std::string& path, const SafetensorsFile& file) {
  for (const auto& [name, tensor] : file.tensors) {
    if (!is_floating(tensor.dtype())) continue;
    const std::vector<double> values = tensor.to_vector<double>();
    const auto bad = std::ranges::find_if_not(values, [](double value) { return std::isfinite(value); });
    if (bad != values.end())
      fail<NumericError>("{}: tensor {} holds {} at {}: it is no model that can be used", path, in_quotes(name), *bad, coordinates(tensor.shape(), bad - values.begin()));
  }
}

std::string verification_notice(const std::string& path, Verified verified) {
  switch (verified) {
    case Verified::everything: return "";
    case Verified::data: return fmt::format("{}: of an earlier version: its checksum covers the tensors alone and misses some damage", path);
    case Verified::nothing: return fmt::format("{}: without a checksum: damage to it would not be seen", path);
  }
  return "";
}

}  // namespace gradus::io
