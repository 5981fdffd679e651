// Ctrl-C, SIGTERM and SIGUSR1 while training: the step is finished and saved first.
#pragma once

namespace gradus::train {

/// While one lives, the first SIGINT or SIGTERM only sets a flag; the second ends the process at once (files are written
/// atomically, so nothing is half-written). SIGUSR1 asks for a checkpoint.
class SignalScope {
 public:
  SignalScope();
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

  /// SIGINT or SIGTERM once one has arrived, else 0.
  static int received();
  /// True once for each SIGUSR1.
  static bool take_save_request();
};

}  // namespace gradus::train
