#include "framework/io/input_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>

#include "framework/base/error.h"
#include "framework/base/printable.h"
#include "framework/tensor/memory_report.h"

namespace gradus::io {
namespace {

std::string readable(std::uint64_t bytes) { return readable_bytes(static_cast<std::int64_t>(bytes)); }

}  // namespace

std::uint64_t machine_memory() {
  static const std::uint64_t memory = [] {
    auto all = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    std::ifstream file("/sys/fs/cgroup/memory.max");  // of a container
    if (std::uint64_t allowed = 0; file >> allowed) all = std::min(all, allowed);
    return all;
  }();
  return memory;
}

InputFile::InputFile(const std::string& path, std::uint64_t limit) : path_(path), descriptor_(path, O_RDONLY) {
  struct stat info {};
  if (path.find('\0') != std::string::npos) fail<DataError>("{}: a file's name cannot hold a NUL", printable(path));
  if (descriptor_ < 0 || ::fstat(descriptor_, &info) != 0) fail<DataError>("{}: cannot be read: {}", path, reason());
  if (S_ISDIR(info.st_mode)) fail<DataError>("{}: is a folder, a file was expected", path);
  is_stream_ = !S_ISREG(info.st_mode) || info.st_size == 0;  // files of /proc say 0
  if (is_stream_) {
    read_stream(std::min(limit, longest_stream));
    return;
  }
  size_ = static_cast<std::uint64_t>(info.st_size);
  require_at_most(limit);
}

void InputFile::require_at_most(std::uint64_t limit) const {
  if (size_ > limit) fail<DataError>("{}: holds {}, at most {} are read", path_, readable(size_), readable(limit));
}

std::uint64_t InputFile::read_from_file(char* to, std::uint64_t count, std::uint64_t position) const {
  std::uint64_t done = 0;
  while (done < count) {
    const std::size_t wanted = std::min<std::uint64_t>(count - done, 1 << 30);
    const ssize_t got = is_stream_ ? ::read(descriptor_, to + done, wanted)
                                   : ::pread(descriptor_, to + done, wanted, static_cast<off_t>(position + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail<DataError>("{}: cannot be read: {}", path_, reason());
    if (got == 0) break;
    done += static_cast<std::uint64_t>(got);
  }
  return done;
}

void InputFile::read_stream(std::uint64_t limit) {
  constexpr std::uint64_t piece = 1 << 16;
  for (std::uint64_t got = piece; got == piece; size_ += got) {
    if (size_ > limit) {
      fail<DataError>("{}: has no end within {}, more is not read of a pipe or device: give a file", path_, readable(limit));
    }
    stream_.resize(size_ + piece);
    got = read_from_file(stream_.data() + size_, piece, size_);
  }
  stream_.resize(size_);
}

std::string InputFile::beginning(std::size_t count) const {
  if (is_stream_) return stream_.substr(0, count);
  std::string bytes(count, '\0');
  bytes.resize(read_from_file(bytes.data(), count, 0));
  return bytes;
}

void InputFile::read(void* to, std::uint64_t count) {
  std::uint64_t got = std::min(count, left());
  if (is_stream_) stream_.copy(static_cast<char*>(to), got, position_);
  else got = read_from_file(static_cast<char*>(to), got, position_);
  position_ += got;
  if (got < count) fail<DataError>("{}: ends after {}: it was cut short while it was read", path_, readable(position_));
}

}  // namespace gradus::io
