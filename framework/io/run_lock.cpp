#include "framework/io/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "framework/base/error.h"
#include "framework/io/descriptor.h"
#include "framework/io/destination.h"
#include "framework/io/run_owner.h"

namespace gradus::io {

struct HeldLock {
  std::atomic<bool> is_held = false;
  std::string file;  ///< does not change while the lock is held
  int descriptor = -1;
};

namespace {

/// The locks of this process, where a signal handler finds them.
std::array<HeldLock, 64> all_held;

bool is_same_file(int descriptor, const char* path) {
  struct stat opened {}, named {};
  return ::fstat(descriptor, &opened) == 0 && ::lstat(path, &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

/// While the lock is held: whoever has opened the file meanwhile sees that it is no longer the one at its path.
void remove_file(const HeldLock& lock) {
  if (is_same_file(lock.descriptor, lock.file.c_str())) ::unlink(lock.file.c_str());
}

void let_go(HeldLock& lock) {
  remove_file(lock);
  lock.is_held = false;
  ::close(std::exchange(lock.descriptor, -1));
}

std::string read_start(int descriptor) {
  std::string text(8192, '\0');
  const ssize_t count = ::pread(descriptor, text.data(), text.size(), 0);
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  while (!text.empty() && text.back() == '\0') text.pop_back();  // what a power failure leaves of a short file
  return text;
}

/// One attempt after another to hold one lock, until it is held or refused.
class Acquisition {
 public:
  explicit Acquisition(const std::string& path) : path_(path), file_(true_path(path) + ".lock") {}
  ~Acquisition() { close(); }

  /// The lock's descriptor; the file does not say yet whose it is.
  int run() {
    while (!try_once()) close();
    return std::exchange(descriptor_, -1);
  }
  void write_owner(int descriptor) const {
    const std::string text = RunOwner::this_process().to_text();
    errno = ENOSPC;  // of a write that is cut short
    const bool written = ::ftruncate(descriptor, 0) == 0 &&
                         ::pwrite(descriptor, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
    if (!written) refuse("its lock {} cannot be written: {}", file_, std::strerror(errno));
  }
  const std::string& file() const { return file_; }
  const std::string& taken_over() const { return taken_over_; }

 private:
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> reason, Args&&... args) const {
    throw OutputError(fmt::format("{}: ", path_) + fmt::format(reason, std::forward<Args>(args)...));
  }
  void close() {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }

  /// False where the file was exchanged meanwhile.
  bool try_once() {
    if (!open()) return false;
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) refuse_for_owner();
      return try_without_locks();
    }
    if (!is_same_file(descriptor_, file_.c_str())) return false;
    if (created_) return true;
    const std::string text = wait_for_text(10);  // locks need not reach the other hosts of a shared drive
    if (text.empty()) return true;
    const RunOwner owner = require_owner(text);
    if (!owner.is_on_this_host()) refuse_other_host(owner);
    note(owner);
    return true;
  }

  /// A file system without locks still creates a file once. So only one run at a time removes the lock of one that is
  /// gone: another could otherwise remove the new lock of the first.
  bool try_without_locks() {
    if (created_) return true;
    const RunOwner owner = require_owner(wait_for_text(100));
    if (!owner.is_on_this_host()) refuse_other_host(owner);
    if (owner.is_alive()) refuse("another run writes it: {}", owner.description());
    const std::string sign = file_ + ".taken";
    const int taken = open_uninterrupted(sign, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (taken < 0 && errno != EEXIST) refuse("{} cannot be written: {}", sign, std::strerror(errno));
    if (taken < 0) refuse("another run takes over its lock just now; if none does, remove {}", sign);
    if (is_same_file(descriptor_, file_.c_str()) && ::unlink(file_.c_str()) == 0) note(owner);
    ::unlink(sign.c_str());
    ::close(taken);
    return false;
  }

  bool open() {
    const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    descriptor_ = open_uninterrupted(file_, flags | O_CREAT | O_EXCL, 0600);
    created_ = descriptor_ >= 0;
    if (!created_ && errno == EEXIST) {
      descriptor_ = open_uninterrupted(file_, flags);
      if (descriptor_ < 0 && errno == ENOENT) return false;
    }
    if (descriptor_ < 0 && errno == ELOOP) refuse("{} is a symbolic link and no lock: remove it", file_);
    if (descriptor_ < 0 && errno == EISDIR) refuse("{} is a folder and no lock: remove it", file_);
    if (const int error = errno; descriptor_ < 0) {
      if (error == EACCES && ::access(file_.c_str(), F_OK) == 0)
        refuse("the lock {} of another user is there; if none of their runs writes it, have them remove it", file_);
      refuse("its lock {} cannot be written: {}", file_, std::strerror(error));
    }
    struct stat info {};
    if (::fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode))
      refuse("{} is not a regular file and no lock: remove it", file_);
    return true;
  }

  RunOwner require_owner(const std::string& text) const {
    const std::optional<RunOwner> owner = RunOwner::from_text(text);
    if (!owner)
      refuse("{} is not the lock of a run of this program; if none writes {}, remove it", file_, path_);
    return *owner;
  }

  /// A lock is there for a moment before its text is.
  std::string wait_for_text(int hundredths) const {
    std::string text = read_start(descriptor_);
    for (int i = 0; i < hundredths && !text.ends_with("\n"); ++i) {
      ::usleep(10000);
      text = read_start(descriptor_);
    }
    return text;
  }

  [[noreturn]] void refuse_for_owner() const {
    const std::optional<RunOwner> owner = RunOwner::from_text(wait_for_text(100));
    refuse("another run writes it: {}", owner ? owner->description() : "its lock is " + file_);
  }
  [[noreturn]] void refuse_other_host(const RunOwner& owner) const {
    refuse("a run on another host writes it, or has not released it: {}; if it is gone, remove {}",
           owner.description(), file_);
  }

  void note(const RunOwner& owner) {
    taken_over_ = fmt::format("{}: the run that held its lock is gone without releasing it, the lock is taken over: {}",
                              path_, owner.description());
  }

  std::string path_, file_, taken_over_;
  int descriptor_ = -1;
  bool created_ = false;
};

}  // namespace

RunLock::RunLock(const std::vector<std::string>& paths) {
  // In one order for all: of runs that want some of the same locks, one gets all of its own.
  std::vector<std::pair<std::string, std::string>> ordered;
  for (const std::string& path : paths) {
    if (!path.empty()) ordered.emplace_back(true_path(path), path);
  }
  std::sort(ordered.begin(), ordered.end());
  const auto same = [](const auto& a, const auto& b) { return a.first == b.first; };
  ordered.erase(std::unique(ordered.begin(), ordered.end(), same), ordered.end());
  try {
    for (const auto& [canonical, path] : ordered) {
      const auto free = std::find_if(all_held.begin(), all_held.end(), [](const auto& lock) { return !lock.is_held; });
      if (free == all_held.end()) fail<OutputError>("{}: more locks than a process can hold", path);
      Acquisition acquisition(path);
      held_.reserve(ordered.size());
      free->file = acquisition.file();
      free->descriptor = acquisition.run();
      free->is_held = true;  // before the text is there: a signal that ends the process removes the file
      held_.push_back(&*free);
      acquisition.write_owner(free->descriptor);
      if (!acquisition.taken_over().empty()) taken_over_.push_back(acquisition.taken_over());
    }
  } catch (...) {
    release();
    throw;
  }
}

RunLock::~RunLock() { release(); }

void RunLock::release() {
  for (HeldLock* lock : held_) let_go(*lock);
}

void RunLock::release_all() noexcept {
  for (const HeldLock& lock : all_held) {
    if (lock.is_held) remove_file(lock);
  }
}

std::string true_path(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path target = fs::absolute(destination_of(path).path, ignored);
  return fs::weakly_canonical(target.parent_path(), ignored) / target.filename();
}

}  // namespace gradus::io
