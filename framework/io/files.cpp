#include "framework/io/files.h"

#include <filesystem>

#include "framework/base/error.h"
#include "framework/base/printable.h"
#include "framework/io/destination.h"
#include "framework/io/input_file.h"
#include "framework/io/temporary_file.h"

namespace gradus::io {

std::string read_file(const std::string& path, std::uint64_t limit) {
  InputFile file(path, limit);
  return rest_of(file, limit);
}

std::string rest_of(InputFile& file, std::uint64_t limit) {
  file.require_at_most(limit);
  std::string bytes(file.left(), '\0');
  file.read(bytes.data(), bytes.size());
  return bytes;
}

bool is_there(const std::string& path) {
  std::error_code unknown;
  return std::filesystem::exists(path, unknown) || unknown;
}

void write_file_atomically(const std::string& path, const std::function<void(std::ostream&)>& write) {
  const Destination destination = destination_of(path);
  if (!destination.obstacle.empty()) fail<OutputError>("{}: {}", printable(path), destination.obstacle);
  remove_stale_temporaries(destination);
  TemporaryFile file(destination, path);
  write(file.stream());
  file.take_place();
  const Descriptor folder(folder_of(destination.path), O_RDONLY | O_DIRECTORY);
  if (folder >= 0) ::fsync(folder);  // not every file system can: the file is complete either way
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  write_file_atomically(path, [&](std::ostream& file) { file.write(bytes.data(), static_cast<std::streamsize>(bytes.size())); });
}

void require_writable(const std::string& path) {
  if (path.empty()) fail<UsageError>("an output path must not be empty");
  const Destination destination = destination_of(path);
  const std::string folder = folder_of(destination.path);
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) fail<UsageError>("{}: the folder {} does not exist", path, folder);
  if (!destination.obstacle.empty()) fail<UsageError>("{}: {}", printable(path), destination.obstacle);
  if (::access(folder.c_str(), W_OK) != 0) fail<UsageError>("{}: the folder {} cannot be written to: {}", path, folder, reason());
}

}  // namespace gradus::io
