// The JSON header of a safetensors file, read as the format's reference implementation reads it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::io {

/// The reference reads no longer ones.
inline constexpr std::uint64_t longest_header = 100'000'000;

/// What the header says of a tensor: every dtype and shape of the format, also those that no Tensor can have.
struct TensorEntry {
  std::string name, dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin, end;  ///< its bytes, counted from the end of the header

  std::uint64_t bytes() const { return end - begin; }
  std::uint64_t elements() const;
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;
  std::vector<TensorEntry> entries;  ///< in the order of their bytes, which they fill without holes
};

/// Throws DataError naming `path` and what is wrong. Stricter than the reference in four things: no tensor and no metadata
/// key twice, no unknown field twice, and no entry written as a list.
SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_size, const std::string& path);

}  // namespace gradus::io
