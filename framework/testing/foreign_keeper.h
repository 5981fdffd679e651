// The process between the checker and that of a foreign op. What the op's process starts, and what that starts, stays
// the keeper's, and it ends all of it: also where the op asks for a session of its own, or the checker is killed.
#pragma once

#include <sys/types.h>

#include <functional>

namespace gradus::testing::foreign {

inline constexpr int most_tasks = 512;  ///< processes and threads that an op may have at a time

/// What the keeper tells the checker: once the op's process has begun, and once more when all is over.
struct KeeperReport {
  pid_t op = 0;           ///< its process; 0: none could be started
  int error = 0;          ///< why not
  int wait_status = 0;    ///< how it ended, as waitpid(2) tells
  bool too_many = false;  ///< it was ended for having more than most_tasks
};

/// The keeper's life. `live` is run in the op's process, and given the keeper's id. The op is ended when the checker
/// sends SIGTERM, or is gone.
[[noreturn]] void keep(int reports, pid_t checker, const std::function<void(pid_t)>& live);

/// While one lives, processes whose keeper was killed become children of this process.
class Adoption {
 public:
  Adoption();
  ~Adoption();
  Adoption(const Adoption&) = delete;
  Adoption& operator=(const Adoption&) = delete;
};
/// Ends those.
void end_adopted();

/// How many processes and threads there are in the system, as far as it says.
long tasks_of_system();

}  // namespace gradus::testing::foreign
