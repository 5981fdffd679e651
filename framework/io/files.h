// Reading whole files, and writing them so that nobody ever sees half of one.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <string_view>

namespace gradus::io {

/// The bytes of a file. Throws DataError naming the path and the reason.
std::string read_file(const std::string& path);

/// Has `write` fill a temporary file in the same folder, flushes it to disk and renames it to `path`. On any failure the
/// temporary is removed, `path` stays as it was, and a DataError names the path and the reason. A temporary that a killed
/// process left behind is removed by the next write to the same path.
void write_file_atomically(const std::string& path, const std::function<void(std::ostream&)>& write);
void write_file_atomically(const std::string& path, std::string_view bytes);

/// Throws UsageError unless a file can be created at `path`; to be called before long work whose result goes there.
void require_writable(const std::string& path);

}  // namespace gradus::io
