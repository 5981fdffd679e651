// Runs before the libraries' initialisers, which read their settings from the environment and start threads, where the
// C library allows it, otherwise at the start of main(). The processor has not been looked at then: on x86 this file is
// compiled for all of them, and calls the C library only.
#include "tools/start.h"

#include <alloca.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "framework/train/signals.h"

namespace {

bool has(char** environment, const char* name) {
  const size_t length = strlen(name);
  for (; *environment; ++environment) {
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') return true;
  }
  return false;
}

void block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : gradus::train::handled_signals) {
    struct sigaction action;
    if (sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) sigaddset(&signals, signal);
  }
  sigprocmask(SIG_BLOCK, &signals, nullptr);
}

}  // namespace

namespace gradus::tools {

void start(char** arguments, char** environment) {
  block_signals();
  static char sleep_soon[] = "OMP_WAIT_POLICY=passive", spin_shortly[] = "GOMP_SPINCOUNT=5000",
              no_pool[] = "OPENBLAS_NUM_THREADS=1";
  size_t count = 0;
  while (environment[count]) ++count;
  char** const settings = static_cast<char**>(alloca((count + 4) * sizeof(char*)));
  size_t all = count;
  memcpy(settings, environment, count * sizeof(char*));
  if (!has(environment, "OMP_WAIT_POLICY") && !has(environment, "GOMP_SPINCOUNT")) {
    settings[all++] = sleep_soon;
    settings[all++] = spin_shortly;
  }
  if (!has(environment, "OPENBLAS_NUM_THREADS")) settings[all++] = no_pool;
  settings[all] = nullptr;
  if (all > count) execve("/proc/self/exe", arguments, settings);  // returns only where it cannot be done
}

}  // namespace gradus::tools

// The sanitizers' own initialisers come first.
#if defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
namespace {
void start_early(int, char** arguments, char** environment) { gradus::tools::start(arguments, environment); }
[[gnu::section(".preinit_array"), gnu::used]] void (*const before_libraries)(int, char**, char**) = start_early;
}  // namespace
#endif
