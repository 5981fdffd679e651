// One run writes a path at a time.
#pragma once

#include <string>
#include <vector>

namespace gradus::io {

struct HeldLock;

/// Keeps other runs from the paths while it lives, by a file PATH.lock beside each; symbolic links are followed first, so
/// that all spellings of a path are one. The file is held by flock(2): the system lets go of it however this process
/// ends, and the next run takes it over. What stands in it (process, host, since when, command) is for people; it decides
/// only where a file system has no locks, and for other hosts, which are believed to be alive.
class RunLock {
 public:
  /// Empty paths are left out. Throws OutputError where another run holds one of them, naming it, or where a lock cannot
  /// be written; then none is held.
  explicit RunLock(const std::vector<std::string>& paths);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// A sentence for each lock that was taken over from a run that is gone.
  const std::vector<std::string>& taken_over() const { return taken_over_; }

  /// Removes the files of all locks of this process, which is about to end without destructors. May be called in a
  /// signal handler.
  static void release_all() noexcept;

 private:
  void release();

  std::vector<HeldLock*> held_;
  std::vector<std::string> taken_over_;
};

/// What `path` is called when all symbolic links are followed, also one that leads to nothing yet; absolute.
std::string true_path(const std::string& path);

}  // namespace gradus::io
