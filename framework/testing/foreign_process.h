// The process in which a foreign op runs, seen from outside.
#pragma once

#include <sys/types.h>

#include <optional>

#include "framework/testing/foreign_keeper.h"
#include "framework/testing/foreign_protocol.h"

namespace gradus::testing::foreign {

struct Answer {
  enum class Kind { answered, ended, timed_out } kind;
  bool exited = false;  ///< ended by exit; otherwise by a signal
  bool cut_off = false;  ///< it lived on without its connection, and was killed
  bool too_many = false;     ///< it was ended for having too many processes and threads
  bool keeper_gone = false;  ///< its keeper was killed, and it with it
  int code = 0;         ///< exit status or signal
};

class Process {
 public:
  /// Starts the process with `data_bytes` of shared memory (taken only as it is used). The library is loaded by the
  /// first request, `load`.
  Process(const std::string& path, std::int64_t data_bytes, const Manner& manner);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  Control& control() const { return *static_cast<Control*>(memory_); }
  std::byte* data() const;
  std::int64_t data_bytes() const;
  int id() const { return id_; }

  /// Runs the request that control() describes. After any other answer than `answered` the process is gone; control()
  /// and data() are still there.
  Answer ask(Request request, double timeout);

 private:
  Answer end(bool kill);
  void start(const std::string& path);
  /// The keeper's next report; nothing after `milliseconds`, or where the keeper is gone.
  std::optional<KeeperReport> next_report(int milliseconds);

  const Adoption adoption_;
  void* memory_ = nullptr;
  std::int64_t memory_bytes_ = 0;
  int socket_ = -1, reports_ = -1;
  pid_t id_ = 0, keeper_ = 0;
};

}  // namespace gradus::testing::foreign
