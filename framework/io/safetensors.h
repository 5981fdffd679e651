// The safetensors format: 8 bytes of header length (little endian), a JSON header, the tensors' bytes without holes.
// Files written by other programs are read as well; ours carry a checksum that is verified.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "framework/tensor/tensor.h"

namespace gradus::io {

struct SafetensorsFile {
  std::map<std::string, std::string> metadata;
  std::vector<std::pair<std::string, Tensor>> tensors;  ///< in the order of their bytes

  /// The tensor `name`, or an undefined one.
  Tensor find(const std::string& name) const;
  /// The value of `key`. Throws DataError naming `path` where it is absent.
  const std::string& require(const std::string& key, const std::string& path) const;
};

/// Throws DataError naming the path and what is wrong: no such file, not the format, truncated, damaged (checksum).
SafetensorsFile read_safetensors(const std::string& path);

/// Written atomically; the same content gives the same bytes. Adds the metadata key `checksum`.
void write_safetensors(const std::string& path, const SafetensorsFile& file);

/// 64 bits of FNV-1a over 8-byte words, as 16 hexadecimal digits.
std::string checksum(const void* bytes, std::size_t count);
inline std::string checksum(std::string_view bytes) { return checksum(bytes.data(), bytes.size()); }

}  // namespace gradus::io
