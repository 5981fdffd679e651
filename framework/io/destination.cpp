#include "framework/io/destination.h"

#include <sys/stat.h>
#include <sys/vfs.h>

#include <filesystem>

#include "framework/io/descriptor.h"

namespace gradus::io {
namespace {

constexpr int most_links = 40;  // as the system's own

/// Files of the /proc file system are links to open files, which have no name to be replaced: /dev/stdout leads there.
bool is_in_proc(const std::string& folder) {
  constexpr long proc_file_system = 0x9fa0;
  struct statfs system {};
  return ::statfs(folder.c_str(), &system) == 0 && system.f_type == proc_file_system;
}

/// Whether another user could have put the link there to have a file of this user's overwritten.
bool is_of_a_stranger(const struct stat& link, const std::string& folder) {
  struct stat info {};
  return link.st_uid != ::geteuid() && (::stat(folder.c_str(), &info) != 0 || link.st_uid != info.st_uid);
}

std::string obstacle_of(const struct stat& info, const std::string& path) {
  if (S_ISDIR(info.st_mode)) return "is a folder, a file cannot be written there";
  if (!S_ISREG(info.st_mode)) return "is not a regular file";
  if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) != 0) return "is write-protected";
  return "";
}

}  // namespace

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

Destination destination_of(const std::string& path) {
  Destination destination{path, "", {}};
  const auto refuse = [&](const std::string& why) {
    destination.obstacle = why;
    return destination;
  };
  if (path.find('\0') != std::string::npos) return refuse("cannot be written: a file's name cannot hold a NUL");
  std::error_code ignored;
  if (path.ends_with('/') && !std::filesystem::is_directory(path, ignored)) return refuse("cannot be written: a name that ends with a slash is a folder's");
  for (int links = 0; links <= most_links; ++links) {
    struct stat info {};
    if (::lstat(destination.path.c_str(), &info) != 0) return errno == ENOENT ? destination : refuse("cannot be written: " + reason());
    if (!S_ISLNK(info.st_mode)) {
      destination.existing = {info.st_uid, info.st_gid, info.st_mode & 0777};
      return refuse(obstacle_of(info, destination.path));
    }
    const std::string folder = folder_of(destination.path);
    if (is_in_proc(folder)) return refuse("is not a regular file");
    if (is_of_a_stranger(info, folder)) return refuse("is a symbolic link of another user, which is not followed");
    const std::filesystem::path target = std::filesystem::read_symlink(destination.path, ignored);
    if (ignored) return refuse("cannot be written: " + ignored.message());
    destination.path = target.is_absolute() ? target : std::filesystem::path(folder) / target;
    if (destination.path.ends_with('/') && !std::filesystem::is_directory(destination.path, ignored)) return refuse("is a link to a folder that is not there");
  }
  errno = ELOOP;
  return refuse("cannot be written: " + reason());
}

}  // namespace gradus::io
