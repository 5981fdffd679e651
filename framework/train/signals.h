// Ctrl-C, SIGTERM, SIGHUP and SIGUSR1, taken by a thread of their own.
//
// No handler may run on a thread that computes: oneDNN before 3.12 keeps the stack pointer in a heap buffer while it
// multiplies matrices in f32, and the system would write the signal's frame below it, into memory that is another's.
// So the signals are blocked on all threads, and one that does nothing else waits for them.
#pragma once

#include <csignal>

namespace gradus::train {

/// What the process was told to ignore (by nohup, or a shell's `&`) stays ignored.
inline constexpr int handled_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

/// Blocks the signals on the calling thread, and so on those that it starts from now on, and starts the thread that takes
/// them: for the start of main(), before there are other threads.
/// While no SignalScope lives, a stopping signal then ends the process as by default, and SIGUSR1 is kept for the next
/// run. Throws Error where no thread can be started.
void take_signals();

/// While one lives, the first SIGINT, SIGTERM or SIGHUP only asks the run to stop; a second one more than a tenth of a
/// second later ends the process at once (files are written atomically, so nothing is half-written). SIGUSR1 asks for a
/// checkpoint. Output whose reader has gone and files that grow beyond `ulimit -f` are errors of the write, not the
/// end (SIGPIPE, SIGXFSZ).
/// A program that has not called take_signals() has its own handling of signals back with the end of the last scope.
/// Until then they are blocked on the calling thread and on its OpenMP threads; if it has others, they handle signals
/// on stacks of their own or must not multiply matrices.
class SignalScope {
 public:
  /// `sentence`: what the first stopping signal prints; it must outlive the scope. Scopes may be nested: the inner one's
  /// is said.
  explicit SignalScope(const char* sentence = "\nstopping; once more to leave at once\n");
  /// A signal that the last scope's owner has not looked at comes again, as if it had been sent after the scope.
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

  /// SIGINT, SIGTERM or SIGHUP once one has arrived, else 0.
  static int received();
  /// True once for each SIGUSR1.
  static bool take_save_request();

 private:
  const char* outer_sentence_;
};

}  // namespace gradus::train
