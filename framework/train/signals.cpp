#include "framework/train/signals.h"

#include <unistd.h>

#include <csignal>
#include <string_view>

#include "framework/io/run_lock.h"

namespace gradus::train {
namespace {

volatile std::sig_atomic_t stop_signal = 0, save_requested = 0;
volatile std::sig_atomic_t will_save = 0;
struct sigaction previous_interrupt, previous_terminate, previous_hangup, previous_save;

void on_stop(int signal) {
  // A closing terminal sends SIGHUP twice: by the shell, and by the kernel once the shell has ended.
  if (stop_signal != 0 && signal == SIGHUP) return;
  if (stop_signal != 0) {
    io::RunLock::release_all();
    ::_exit(128 + signal);
  }
  stop_signal = signal;
  const std::string_view text = will_save
                                    ? "\nstopping: the step is finished and saved first; once more to leave at once\n"
                                    : "\nstopping after this step; once more to leave at once\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

void on_save(int) { save_requested = 1; }

void install(int signal, void (*handler)(int), struct sigaction* previous) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, previous);
}

}  // namespace

SignalScope::SignalScope(bool saves) {
  will_save = saves;
  stop_signal = 0;
  save_requested = 0;
  install(SIGINT, on_stop, &previous_interrupt);
  install(SIGTERM, on_stop, &previous_terminate);
  sigaction(SIGHUP, nullptr, &previous_hangup);
  if (previous_hangup.sa_handler != SIG_IGN) install(SIGHUP, on_stop, &previous_hangup);
  install(SIGUSR1, on_save, &previous_save);
}

SignalScope::~SignalScope() {
  sigaction(SIGINT, &previous_interrupt, nullptr);
  sigaction(SIGTERM, &previous_terminate, nullptr);
  sigaction(SIGHUP, &previous_hangup, nullptr);
  sigaction(SIGUSR1, &previous_save, nullptr);
}

int SignalScope::received() { return stop_signal; }

bool SignalScope::take_save_request() {
  const bool requested = save_requested != 0;
  save_requested = 0;
  return requested;
}

}  // namespace gradus::train
