#include "framework/train/signals.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <utility>

#include "framework/base/error.h"
#include "framework/io/run_lock.h"
#include "framework/kernels/cpu/parallel.h"

namespace gradus::train {
namespace {

using Clock = std::chrono::steady_clock;

/// What a write raises where nobody reads any more, and where the file grows beyond its limit.
constexpr std::array failing_writes = {SIGPIPE, SIGXFSZ};
/// Programs like `timeout` send a signal to the process and to its group: within this time they are one.
constexpr std::chrono::milliseconds one_request{100};
/// Wakes the thread to let it end. Ignored by default, and used by nothing here.
constexpr int wake_signal = SIGURG;
/// Enough for a few system calls.
constexpr std::size_t stack_size = 256 * 1024;

std::atomic<int> stop_signal = 0;
std::atomic<bool> stop_was_looked_at = false, save_requested = false;

std::mutex guard;  ///< of what follows
int scopes = 0;
const char* sentence = nullptr;
Clock::time_point asked_to_stop;

pthread_t thread;
bool running = false, to_the_end = false;  ///< of the program
std::atomic<bool> leaving = false;
sigset_t taken{};      ///< the signals but for those that are ignored
sigset_t mask_before;  ///< of the thread that has started the one which takes them
std::array<struct sigaction, NSIG> actions_before;

void say(const char* text) {
  const auto writes_at_once = [] {
    pollfd file{STDERR_FILENO, POLLOUT, 0};
    return ::poll(&file, 1, 0) == 1 && (file.revents & POLLOUT) != 0;
  };
  if (!writes_at_once()) return;  // a terminal may be halted by Ctrl-S, and a pipe full
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, std::strlen(text));
}

/// Keeps what was set before, for put_back().
void set_action(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, &actions_before[signal]);
}

void put_back(int signal) { ::sigaction(signal, &actions_before[signal], nullptr); }

/// As the signal does by default, so that a shell sees what has ended the program.
[[noreturn]] void die_of(int signal) {
  io::RunLock::release_all();
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  ::sigaction(signal, &action, nullptr);
  sigset_t only;
  ::sigemptyset(&only);
  ::sigaddset(&only, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  ::pthread_kill(::pthread_self(), signal);
  ::_exit(128 + signal);  // the first process of a container does not die of it
}

void on_stop(int signal) {
  const char* text;
  {
    const std::lock_guard lock(guard);
    if (scopes == 0 && to_the_end) die_of(signal);
    if (scopes == 0) {  // at the end of the last scope: its destructor passes it on
      stop_signal = signal;
      return;
    }
    if (stop_signal != 0) {
      // A closing terminal sends SIGHUP twice: by the shell, and by the kernel once the shell has ended.
      if (signal == SIGHUP || Clock::now() - asked_to_stop < one_request) return;
      io::RunLock::release_all();
      ::_exit(128 + signal);
    }
    asked_to_stop = Clock::now();
    stop_signal = signal;
    text = sentence;
  }
  say(text);
}

void on_save() {
  if (save_requested.exchange(true)) return;
  bool training;
  {
    const std::lock_guard lock(guard);
    training = scopes > 0;
  }
  if (!training) say("SIGUSR1: no step is running; a run that trains saves after its next one\n");
}

void on(int signal) {
  if (signal == SIGUSR1) on_save();
  else if (signal != wake_signal) on_stop(signal);
}

void* take_until_woken(void*) {
  sigset_t awaited = taken;
  ::sigaddset(&awaited, wake_signal);
  while (!leaving) {
    int signal = 0;
    if (::sigwait(&awaited, &signal) == 0) on(signal);
  }
  return nullptr;
}

/// Those that were sent to the calling thread, as by raise(), and wait for it alone.
void take_own() {
  constexpr timespec at_once{};
  for (int signal; (signal = ::sigtimedwait(&taken, nullptr, &at_once)) > 0;) on(signal);
}

/// Runs on a thread that was there before the signals were blocked.
void hand_over(int signal) { ::pthread_kill(thread, signal); }

/// What the process has been told to ignore is left out.
sigset_t signals_to_take() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : handled_signals) {
    struct sigaction action {};
    ::sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_IGN) ::sigaddset(&signals, signal);
  }
  return signals;
}

bool is_taken(int signal) { return ::sigismember(&taken, signal) == 1; }

void start() {
  taken = signals_to_take();
  sigset_t all, mask_of_others;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &taken, &mask_before);
  ::pthread_sigmask(SIG_BLOCK, &all, &mask_of_others);  // the thread is to be disturbed by nothing
  leaving = false;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, stack_size);
  const int error = ::pthread_create(&thread, &attributes, take_until_woken, nullptr);
  ::pthread_attr_destroy(&attributes);
  ::pthread_sigmask(SIG_SETMASK, error == 0 ? &mask_of_others : &mask_before, nullptr);
  if (error != 0) fail<Error>("no thread can be started to wait for signals: {}", std::strerror(error));
  for (const int signal : handled_signals) {
    if (is_taken(signal)) set_action(signal, hand_over);
  }
  running = true;
}

void set_on_openmp_threads(int how, const sigset_t& signals) {
#pragma omp parallel num_threads(cpu::thread_count())
  ::pthread_sigmask(how, &signals, nullptr);
}

void end() {
  sigset_t to_unblock;
  ::sigemptyset(&to_unblock);
  for (const int signal : handled_signals) {
    if (!is_taken(signal)) continue;
    put_back(signal);
    if (::sigismember(&mask_before, signal) == 0) ::sigaddset(&to_unblock, signal);
  }
  leaving = true;
  ::pthread_kill(thread, wake_signal);
  ::pthread_join(thread, nullptr);
  running = false;
  set_on_openmp_threads(SIG_UNBLOCK, to_unblock);
}

}  // namespace

void take_signals() {
  if (!running) start();
  to_the_end = true;
}

SignalScope::SignalScope(const char* text) {
  {
    const std::lock_guard lock(guard);
    outer_sentence_ = std::exchange(sentence, text);
    if (scopes++ > 0) return;
  }
  if (!running) {
    try {
      start();
    } catch (...) {
      const std::lock_guard lock(guard);
      sentence = outer_sentence_;
      --scopes;
      throw;
    }
    set_on_openmp_threads(SIG_BLOCK, taken);
  }
  for (const int signal : failing_writes) set_action(signal, SIG_IGN);
}

SignalScope::~SignalScope() {
  int missed = 0;
  {
    const std::lock_guard lock(guard);
    sentence = outer_sentence_;
    if (--scopes > 0) return;
    for (const int signal : failing_writes) put_back(signal);
    const int asked = stop_signal.exchange(0);
    if (!stop_was_looked_at.exchange(false)) missed = asked;
  }
  if (!to_the_end) {
    end();
    if (const int late = stop_signal.exchange(0); late != 0) missed = late;
  }
  if (missed != 0) ::kill(::getpid(), missed);
}

int SignalScope::received() {
  take_own();
  const int signal = stop_signal;
  if (signal != 0) stop_was_looked_at = true;
  return signal;
}

bool SignalScope::take_save_request() {
  take_own();
  return save_requested.exchange(false);
}

}  // namespace gradus::train
