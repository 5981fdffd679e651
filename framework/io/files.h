// Reading whole files, and writing them so that nobody ever sees half of one.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>

namespace gradus::io {

class InputFile;

/// What is read of a text: more than any corpus that fits into memory as characters and ids.
inline constexpr std::uint64_t longest_text = std::uint64_t{2} << 30;

/// The bytes of a file. Throws DataError naming the path and the reason, also where there are more than `limit`; of a pipe
/// or device no more than longest_stream (input_file.h) are read.
std::string read_file(const std::string& path, std::uint64_t limit = longest_text);

/// All that is left of one. Throws DataError where that is more than `limit`.
std::string rest_of(InputFile& file, std::uint64_t limit = longest_text);

/// Whether anything is at `path`, or something keeps this process from looking.
bool is_there(const std::string& path);

/// Has `write` fill a temporary file in the same folder, flushes it to disk and renames it to `path`, or to where the
/// symbolic link `path` leads. A file that was there gives its mode to the new one; other hard links to it keep the old
/// content. On any failure the temporary is removed, what was there stays, and an OutputError names the path and the reason:
/// among others a file that is write-protected, and a link that another user has put there. A temporary that a killed
/// process left behind is removed by the next write to the same path.
void write_file_atomically(const std::string& path, const std::function<void(std::ostream&)>& write);
void write_file_atomically(const std::string& path, std::string_view bytes);

/// Throws UsageError unless a file can be created at `path`; to be called before long work whose result goes there.
void require_writable(const std::string& path);

}  // namespace gradus::io
