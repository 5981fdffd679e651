// Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 while training: the step is finished first.
#pragma once

namespace gradus::train {

/// While one lives, the first SIGINT, SIGTERM or SIGHUP (unless it was ignored, as under nohup) only sets a flag; a
/// second SIGINT or SIGTERM ends the process at once (files are written atomically, so nothing is half-written).
/// SIGUSR1 asks for a checkpoint. `saves`: what to tell the user.
class SignalScope {
 public:
  explicit SignalScope(bool saves = true);
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

  /// SIGINT, SIGTERM or SIGHUP once one has arrived, else 0.
  static int received();
  /// True once for each SIGUSR1.
  static bool take_save_request();
};

}  // namespace gradus::train
