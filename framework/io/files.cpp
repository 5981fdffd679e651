#include "framework/io/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "framework/base/error.h"

namespace gradus::io {
namespace {

std::string reason() { return std::strerror(errno); }

/// Flushes a file or folder to the disk.
void sync_path(const std::string& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

}  // namespace

std::string read_file(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) fail<DataError>("{}: cannot be read: {}", path, reason());
  if (S_ISDIR(info.st_mode)) fail<DataError>("{}: is a folder, a file was expected", path);
  std::ifstream file(path, std::ios::binary);
  if (!file) fail<DataError>("{}: cannot be read: {}", path, reason());
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (file.bad()) fail<DataError>("{}: cannot be read to its end: {}", path, reason());
  return std::move(bytes).str();
}

void write_file_atomically(const std::string& path, const std::function<void(std::ostream&)>& write) {
  if (std::filesystem::is_directory(path)) fail<DataError>("{}: is a folder, a file cannot be written there", path);
  const std::string temporary = fmt::format("{}.{}.partial", path, ::getpid());
  try {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    if (!file) fail<DataError>("{}: cannot be written: {}", path, reason());
    write(file);
    file.close();
    if (!file) fail<DataError>("{}: cannot be written: {}", path, reason());
    sync_path(temporary, O_RDONLY);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail<DataError>("{}: cannot be written: {}", path, reason());
    sync_path(folder_of(path), O_RDONLY | O_DIRECTORY);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  write_file_atomically(path, [&](std::ostream& file) { file.write(bytes.data(), static_cast<std::streamsize>(bytes.size())); });
}

void require_writable(const std::string& path) {
  const std::string folder = folder_of(path);
  if (path.empty()) fail<UsageError>("an output path must not be empty");
  if (!std::filesystem::is_directory(folder)) fail<UsageError>("{}: the folder {} does not exist", path, folder);
  if (std::filesystem::is_directory(path)) fail<UsageError>("{}: is a folder, a file name was expected", path);
  if (::access(folder.c_str(), W_OK) != 0) fail<UsageError>("{}: the folder {} cannot be written to: {}", path, folder, reason());
}

}  // namespace gradus::io
