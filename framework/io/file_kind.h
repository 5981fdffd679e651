// Names for files that are not what was asked for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gradus::io {

/// So many bytes of a file's beginning are enough to tell.
inline constexpr std::size_t telling_bytes = 512;

/// What a file seems to be that is no safetensors file, and what to do about it: "a Git LFS pointer, not the file itself:
/// git lfs pull fetches it". Empty where its beginning tells nothing.
std::string foreign_kind(std::string_view beginning);

/// Whether a file that begins so can be a text: no control characters but those that lay it out, or UTF-16.
bool may_be_text(std::string_view beginning);

}  // namespace gradus::io
