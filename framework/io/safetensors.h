// The safetensors format: 8 bytes of header length (little endian), a JSON header, the tensors' bytes without holes.
// Files written by other programs are read as well; ours carry a checksum over all of the file that is verified.
//
// The checksum is the metadata key `checksum_xxh3_128`: the XXH3 of 128 bits over the file as it is with each of these 32
// digits replaced by '0'. To other programs it is metadata like any other.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "framework/io/safetensors_header.h"
#include "framework/tensor/tensor.h"

namespace gradus::io {

class InputFile;

/// How much of a file its checksum covered: nothing, as it had none; the tensors' bytes, by the weaker sum of earlier
/// versions; or all of it.
enum class Verified { nothing, data, everything };

struct SafetensorsFile {
  std::map<std::string, std::string> metadata;
  std::vector<std::pair<std::string, Tensor>> tensors;  ///< in the order of their bytes
  Verified verified = Verified::nothing;                ///< set by reading

  /// The tensor `name`, or an undefined one.
  Tensor find(const std::string& name) const;
  /// The value of `key`. Throws DataError naming `path` where it is absent.
  const std::string& require(const std::string& key, const std::string& path) const;
};

/// Throws DataError naming the path and what is wrong: no such file, not the format (and which one it is), truncated,
/// damaged (checksum), larger than the machine's memory, or with a tensor that no Tensor can be: a dtype of 8 bits or
/// less but U8 and BOOL, an unsigned one, a complex one, more than max_rank axes. F16 becomes f32, which holds it exactly.
SafetensorsFile read_safetensors(const std::string& path);

/// What is in a file, without its tensors in memory.
struct SafetensorsContents {
  struct Item {
    TensorEntry entry;
    std::uint64_t not_finite = 0;  ///< elements that are NaN or infinite; counted for F64, F32, F16 and BF16
  };
  std::map<std::string, std::string> metadata;
  std::vector<Item> tensors;
  Verified verified = Verified::nothing;
};

/// Reads all of a file, from its beginning, and verifies its checksum; every dtype and shape of the format. Throws as
/// read_safetensors.
SafetensorsContents inspect_safetensors(InputFile& file);

/// Written atomically; the same content gives the same bytes. Adds the checksum.
void write_safetensors(const std::string& path, const SafetensorsFile& file);

/// Throws NumericError naming the first element that is NaN or infinite: "m.params: tensor 'head.weight' holds nan at
/// (3,7)".
void require_finite(const std::string& path, const SafetensorsFile& file);

/// A line for the user where not all of the file was verified; else empty.
std::string verification_notice(const std::string& path, Verified verified);

}  // namespace gradus::io
