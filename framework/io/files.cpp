#include "framework/io/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "framework/base/error.h"

namespace gradus::io {
namespace {

std::string reason() { return std::strerror(errno); }

/// Closes itself; -1 where opening failed, errno says why.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : number_(::open(path.c_str(), flags | O_CLOEXEC)) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return number_; }

 private:
  int number_;
};

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

/// Why no file can be put at `path` whatever its folder allows; empty where nothing or a file is there. A device or pipe
/// would be replaced by the rename, /dev/null included.
std::string obstacle(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return errno == ENOENT ? "" : "cannot be written: " + reason();
  if (S_ISDIR(info.st_mode)) return "is a folder, a file cannot be written there";
  return S_ISREG(info.st_mode) ? "" : "is not a regular file";
}

/// Removes what a killed process left of an unfinished write to `path`.
void remove_stale_temporaries(const std::string& path) {
  const std::string start = std::filesystem::path(path).filename().string() + ".", end = ".partial";
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(path), ignored)) {
    const std::string name = entry.path().filename();
    if (name.size() <= start.size() + end.size() || !name.starts_with(start) || !name.ends_with(end)) continue;
    const std::string process = name.substr(start.size(), name.size() - start.size() - end.size());
    if (process.size() > 9 || process.find_first_not_of("0123456789") != std::string::npos) continue;
    if (::kill(std::stoi(process), 0) != 0 && errno == ESRCH) ::unlink(entry.path().c_str());
  }
}

}  // namespace

std::string read_file(const std::string& path) {
  const Descriptor file(path, O_RDONLY);
  struct stat info {};
  if (file < 0 || ::fstat(file, &info) != 0) fail<DataError>("{}: cannot be read: {}", path, reason());
  if (S_ISDIR(info.st_mode)) fail<DataError>("{}: is a folder, a file was expected", path);
  std::string bytes;
  for (std::size_t used = 0;;) {  // a pipe does not know its size, and a file may grow meanwhile
    const std::size_t expected = static_cast<std::size_t>(info.st_size) + 1;
    bytes.resize(used < expected ? expected : 2 * used);
    const ssize_t count = ::read(file, bytes.data() + used, bytes.size() - used);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail<DataError>("{}: cannot be read: {}", path, reason());
    used += static_cast<std::size_t>(count);
    if (count == 0) {
      bytes.resize(used);
      return bytes;
    }
  }
}

void write_file_atomically(const std::string& path, const std::function<void(std::ostream&)>& write) {
  if (const std::string why = obstacle(path); !why.empty()) fail<OutputError>("{}: {}", path, why);
  const auto check = [&](bool good) {
    if (!good) fail<OutputError>("{}: cannot be written: {}", path, reason());
  };
  remove_stale_temporaries(path);
  const std::string temporary = fmt::format("{}.{}.partial", path, ::getpid());
  try {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    check(file.is_open());
    write(file);
    file.close();
    check(file.good());
    const Descriptor written(temporary, O_RDONLY);
    check(written >= 0 && ::fsync(written) == 0);
    check(::rename(temporary.c_str(), path.c_str()) == 0);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  const Descriptor folder(folder_of(path), O_RDONLY | O_DIRECTORY);
  if (folder >= 0) ::fsync(folder);  // not every file system can: the file is complete either way
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  write_file_atomically(path, [&](std::ostream& file) { file.write(bytes.data(), static_cast<std::streamsize>(bytes.size())); });
}

void require_writable(const std::string& path) {
  const std::string folder = folder_of(path);
  if (path.empty()) fail<UsageError>("an output path must not be empty");
  if (!is_folder(folder)) fail<UsageError>("{}: the folder {} does not exist", path, folder);
  if (const std::string why = obstacle(path); !why.empty()) fail<UsageError>("{}: {}", path, why);
  if (::access(folder.c_str(), W_OK) != 0) fail<UsageError>("{}: the folder {} cannot be written to: {}", path, folder, reason());
}

}  // namespace gradus::io
