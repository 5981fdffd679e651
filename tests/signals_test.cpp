// Signals of a program that trains without being `gradus`: what happens to them, and that all is as before afterwards.
#include <doctest/doctest.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>
#include <vector>

#include "framework/kernels/cpu/parallel.h"
#include "framework/train/signals.h"
#include "tests/standard_error.h"

using namespace gradus;

namespace {

constexpr std::array handled = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
constexpr std::array of_writes = {SIGPIPE, SIGXFSZ};

volatile std::sig_atomic_t last_seen = 0;
void see(int signal) { last_seen = signal; }

template <class Condition>
bool becomes(const Condition& condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

std::vector<void (*)(int)> handlers() {
  std::vector<void (*)(int)> all;
  const auto add = [&](int signal) {
    struct sigaction action {};
    ::sigaction(signal, nullptr, &action);
    all.push_back(action.sa_handler);
  };
  for (const int signal : handled) add(signal);
  for (const int signal : of_writes) add(signal);
  return all;
}

/// How many of the threads that compute have all of the handled signals blocked.
int threads_that_block() {
  std::atomic<int> count = 0;
  // Each index waits for the others, so that each thread takes one.
  std::atomic<int> waiting = cpu::thread_count();
  cpu::parallel_for(cpu::thread_count(), 1, 1, [&](std::int64_t, std::int64_t) {
    --waiting;
    while (waiting > 0) std::this_thread::yield();
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    count += std::all_of(handled.begin(), handled.end(), [&](int signal) { return ::sigismember(&mask, signal) == 1; });
  });
  return count;
}

void send(int signal) { ::kill(::getpid(), signal); }

/// While one lives, `signal` is treated as given.
class Treatment {
 public:
  Treatment(int signal, void (*handler)(int)) : signal_(signal), before_(std::signal(signal, handler)) {}
  ~Treatment() { std::signal(signal_, before_); }

 private:
  int signal_;
  void (*before_)(int);
};

}  // namespace

TEST_CASE("signals are blocked where work is done as long as a scope lives, and all is as before after it") {
  const cpu::SharingScope threads(4);
  const auto before = handlers();
  CHECK(threads_that_block() == 0);
  for (int repeat = 0; repeat < 3; ++repeat) {
    {
      const train::SignalScope outer;
      CHECK(threads_that_block() == 4);
      {
        const train::SignalScope inner;
        CHECK(threads_that_block() == 4);
      }
      CHECK(threads_that_block() == 4);
      CHECK(handlers() != before);
    }
    CHECK(threads_that_block() == 0);
    CHECK(handlers() == before);
  }
}

TEST_CASE("each signal is seen, whether sent to the process or to the thread") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    for (const bool to_process : {true, false}) {
      const std::string said = errors_of([&] {
        const train::SignalScope scope("the sentence\n");
        CHECK(train::SignalScope::received() == 0);
        to_process ? send(signal) : (void)std::raise(signal);
        CHECK(becomes([&] { return train::SignalScope::received() == signal; }));
        CHECK(train::SignalScope::received() == signal);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      });
      CHECK(said == "the sentence\n");
    }
  }
  const train::SignalScope scope;
  CHECK(train::SignalScope::received() == 0);
  std::raise(SIGUSR1);
  CHECK(train::SignalScope::take_save_request());
  CHECK_FALSE(train::SignalScope::take_save_request());
  send(SIGUSR1);
  CHECK(becomes([] { return train::SignalScope::take_save_request(); }));
  CHECK(train::SignalScope::received() == 0);
}

TEST_CASE("two of a kind at once are one request, as timeout sends them; the inner scope's sentence is said") {
  const std::string said = errors_of([] {
    const train::SignalScope outer("outer\n");
    const train::SignalScope inner("inner\n");
    send(SIGTERM);
    send(SIGTERM);
    CHECK(becomes([] { return train::SignalScope::received() == SIGTERM; }));
    send(SIGHUP);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(train::SignalScope::received() == SIGTERM);
  });
  CHECK(said == "inner\n");
  const std::string said_after = errors_of([] {
    const train::SignalScope outer("outer\n");
    { const train::SignalScope inner("inner\n"); }
    std::raise(SIGTERM);
    CHECK(train::SignalScope::received() == SIGTERM);
  });
  CHECK(said_after == "outer\n");
}

TEST_CASE("a signal that came too late for a scope is the program's own") {
  const Treatment seen(SIGINT, see);
  last_seen = 0;
  errors_of([] {
    {
      const train::SignalScope scope("\n");
      send(SIGINT);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      CHECK(last_seen == 0);
    }
    CHECK(becomes([] { return last_seen == SIGINT; }));
  });
  // Looked at, it is the scope's.
  last_seen = 0;
  errors_of([] {
    {
      const train::SignalScope scope("\n");
      send(SIGINT);
      CHECK(becomes([] { return train::SignalScope::received() == SIGINT; }));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(last_seen == 0);
  });
  std::raise(SIGINT);
  CHECK(last_seen == SIGINT);
}

TEST_CASE("what is ignored stays ignored, and failing writes end nothing") {
  for (const int signal : handled) {
    const Treatment ignored(signal, SIG_IGN);
    const train::SignalScope scope;
    send(signal);
    std::raise(signal);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(train::SignalScope::received() == 0);
    CHECK_FALSE(train::SignalScope::take_save_request());
  }
  const train::SignalScope scope;
  for (const int signal : of_writes) std::raise(signal);
}
