// A file that is read once, from its beginning to its end, and never further than is allowed.
#pragma once

#include <cstdint>
#include <string>

#include "framework/io/descriptor.h"

namespace gradus::io {

/// What is read of a pipe or a device, which may have no end.
inline constexpr std::uint64_t longest_stream = std::uint64_t{256} << 20;

/// The memory of this machine, or less where the process may not use all of it.
std::uint64_t machine_memory();

class InputFile {
 public:
  /// Opens it. What does not know its size, a pipe or a device, is read to its end. Throws DataError naming the path where
  /// that fails, where it is a folder, larger than `limit`, or a stream longer than longest_stream.
  InputFile(const std::string& path, std::uint64_t limit);
  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  /// Bytes that have not been read yet.
  std::uint64_t left() const { return size_ - position_; }
  /// Throws DataError where it is larger.
  void require_at_most(std::uint64_t limit) const;
  /// The first bytes, at most `count`; before anything is read.
  std::string beginning(std::size_t count) const;
  /// The next `count` bytes. Throws DataError where there are not so many.
  void read(void* to, std::uint64_t count);

 private:
  /// As many of `count` bytes from `position` on as there are.
  std::uint64_t read_from_file(char* to, std::uint64_t count, std::uint64_t position) const;
  void read_stream(std::uint64_t limit);

  std::string path_;
  Descriptor descriptor_;
  std::uint64_t size_ = 0, position_ = 0;
  bool is_stream_ = false;
  std::string stream_;  ///< all of it
};

}  // namespace gradus::io
