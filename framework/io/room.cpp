#include "framework/io/room.h"

#include <fmt/ranges.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "framework/base/error.h"
#include "framework/io/run_lock.h"

namespace gradus::io {
namespace {

std::string size_text(double bytes) {
  const char* const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(units); ++unit) bytes /= 1024;
  return unit == 0 ? fmt::format("{:.0f} bytes", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

/// What the files of one file system come to.
struct Demand {
  std::string folder;
  std::vector<std::string> files;
  std::map<std::string, std::int64_t> sizes;  ///< of the files as they are by then
  std::int64_t more = 0, most = 0;            ///< than now

  void add(const PlannedWrite& write, const std::string& file, std::int64_t block) {
    if (std::find(files.begin(), files.end(), write.path) == files.end()) files.push_back(write.path);
    if (!sizes.contains(file)) {
      struct stat info {};
      sizes[file] = ::stat(file.c_str(), &info) == 0 ? static_cast<std::int64_t>(info.st_blocks) * 512 : 0;
    }
    const std::int64_t bytes = (write.bytes + block - 1) / block * block;
    most = std::max(most, more + bytes);
    more += bytes - std::exchange(sizes[file], bytes);
  }
};

std::int64_t free_bytes(const struct statvfs& disk) {
  const auto blocks = ::geteuid() == 0 ? disk.f_bfree : disk.f_bavail;
  return static_cast<std::int64_t>(blocks) * static_cast<std::int64_t>(disk.f_frsize);
}

std::string names_of(const std::vector<std::string>& files) {
  return fmt::format("{} need{}", fmt::join(files, " and "), files.size() == 1 ? "s" : "");
}

}  // namespace

std::vector<std::string> lacking_room(const std::vector<PlannedWrite>& writes) {
  std::map<dev_t, Demand> demands;
  for (const PlannedWrite& write : writes) {
    const std::string file = true_path(write.path), folder = std::filesystem::path(file).parent_path();
    struct stat info {};
    struct statvfs disk {};
    if (write.path.empty() || ::stat(folder.c_str(), &info) != 0 || ::statvfs(folder.c_str(), &disk) != 0) continue;
    if (disk.f_blocks == 0 || disk.f_frsize == 0) continue;  // some network drives do not say
    Demand& demand = demands[info.st_dev];
    demand.folder = folder;
    demand.add(write, file, static_cast<std::int64_t>(disk.f_frsize));
  }
  std::vector<std::string> sentences;
  for (const auto& [device, demand] : demands) {
    struct statvfs disk {};
    if (::statvfs(demand.folder.c_str(), &disk) != 0 || demand.most <= free_bytes(disk)) continue;
    sentences.push_back(fmt::format("{} {}, {} are free in {}", names_of(demand.files),
                                    size_text(static_cast<double>(demand.most)),
                                    size_text(static_cast<double>(free_bytes(disk))), demand.folder));
  }
  return sentences;
}

std::vector<std::string> beyond_size_limit(const std::vector<PlannedWrite>& writes) {
  rlimit limit{};
  std::vector<std::string> sentences;
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return sentences;
  for (const PlannedWrite& write : writes) {
    if (write.path.empty() || static_cast<rlim_t>(write.bytes) <= limit.rlim_cur) continue;
    sentences.push_back(fmt::format("{} needs {}, and no file may grow beyond {} here (ulimit -f)", write.path,
                                    size_text(static_cast<double>(write.bytes)),
                                    size_text(static_cast<double>(limit.rlim_cur))));
  }
  return sentences;
}

}  // namespace gradus::io
