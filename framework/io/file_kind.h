// Names for files that are not what was asked for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gradus::io {

/// So many bytes of a file's beginning are enough to tell.
inline constexpr std::size_t telling_bytes = 512;

/// What a file that begins so is, where it is neither a text nor a safetensors file, and what to do about it: "a gzip archive:
/// unpack it with gunzip". Else empty.
std::string binary_kind(std::string_view beginning);

/// The same where a safetensors file is expected: names texts and empty files too.
std::string foreign_kind(std::string_view beginning);

/// The length of a header in eight bytes, the last of which are zero, and the header's brace.
bool may_be_safetensors(std::string_view beginning);

}  // namespace gradus::io
