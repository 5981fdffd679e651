#include "framework/testing/foreign_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <utility>

#include "framework/base/error.h"

namespace gradus::testing::foreign {

std::int64_t page_size() {
  static const std::int64_t size = ::sysconf(_SC_PAGESIZE);
  return size;
}

std::int64_t whole_pages(std::int64_t bytes) { return (bytes + page_size() - 1) / page_size() * page_size(); }

Process::Process(const std::string& path, std::int64_t data_bytes, const Manner& manner) {
  const std::int64_t control_bytes = whole_pages(sizeof(Control)), all = control_bytes + whole_pages(data_bytes);
  void* const memory = ::mmap(nullptr, static_cast<std::size_t>(all), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail<Error>("{}: no {} bytes of shared memory: {}", path, all, std::strerror(errno));
  memory_ = memory;
  memory_bytes_ = all;
  control().data_bytes = all - control_bytes;
  control().manner = manner;

  try {
    start(path);
  } catch (...) {
    ::munmap(memory_, static_cast<std::size_t>(memory_bytes_));
    throw;
  }
}

void Process::start(const std::string& path) {
  // What is still to be written would be written twice.
  std::fflush(nullptr);
  std::cout.flush();
  const auto refuse = [&](int reason) {
    fail<Error>("{}: no process can be started for it: {}", path, std::strerror(reason));
  };
  int sockets[2], reports[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) refuse(errno);
  if (::pipe2(reports, O_CLOEXEC) != 0) {
    const int reason = errno;
    ::close(sockets[0]), ::close(sockets[1]);
    refuse(reason);
  }
  const pid_t checker = ::getpid();
  keeper_ = ::fork();
  if (keeper_ == 0)
    keep(reports[1], checker, [&](pid_t keeper) { serve(sockets[1], path, &control(), data(), keeper); });
  const int reason = errno;
  ::close(sockets[1]), ::close(reports[1]);
  socket_ = sockets[0], reports_ = reports[0];
  std::optional<KeeperReport> begun;
  if (keeper_ > 0) begun = next_report(10'000);
  if (begun) id_ = begun->op;
  if (id_ > 0) return;
  end(true);
  refuse(keeper_ < 0 ? reason : begun ? begun->error : ECHILD);
}

Process::~Process() {
  end(true);
  ::munmap(memory_, static_cast<std::size_t>(memory_bytes_));
}

std::byte* Process::data() const { return static_cast<std::byte*>(memory_) + whole_pages(sizeof(Control)); }
std::int64_t Process::data_bytes() const { return memory_bytes_ - whole_pages(sizeof(Control)); }

std::optional<KeeperReport> Process::next_report(int milliseconds) {
  KeeperReport report;
  pollfd wait{reports_, POLLIN, 0};
  int ready;
  do ready = ::poll(&wait, 1, milliseconds);
  while (ready < 0 && errno == EINTR);
  if (ready <= 0 || ::read(reports_, &report, sizeof report) != sizeof report) return {};
  return report;
}

/// Ends the process with all that it has started, or waits for its end; tells how it ended.
Answer Process::end(bool kill) {
  Answer answer{Answer::Kind::ended};
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  if (keeper_ > 0) {
    // A closed socket nearly always means that the process has ended; otherwise the op has closed it, and is not waited
    // for.
    std::optional<KeeperReport> last;
    if (!kill) last = next_report(1000);
    answer.cut_off = !kill && !last;
    ::kill(keeper_, SIGTERM);
    if (!last) last = next_report(5000);
    ::kill(keeper_, SIGKILL);
    pid_t waited;
    do waited = ::waitpid(keeper_, nullptr, 0);
    while (waited < 0 && errno == EINTR);
    answer.keeper_gone = !last;
    if (!last) end_adopted();
    else if (WIFEXITED(last->wait_status)) answer.exited = true, answer.code = WEXITSTATUS(last->wait_status);
    else answer.code = WTERMSIG(last->wait_status);
    answer.too_many = last && last->too_many;
  }
  id_ = keeper_ = 0;
  if (reports_ >= 0) ::close(std::exchange(reports_, -1));
  return answer;
}

Answer Process::ask(Request request, double timeout) {
  if (socket_ < 0) return {Answer::Kind::ended};
  Control& control = this->control();
  control.request = request;
  control.stage = Stage::checker;
  control.result = Result::done;
  control.returned = 0;
  control.signal = 0;
  std::memset(control.message, 0, sizeof control.message);
  char byte = 1;
  while (::send(socket_, &byte, 1, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return end(false);
  }
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    const double left = timeout - std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    pollfd wait{socket_, POLLIN, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(std::ceil(1000 * std::clamp(left, 0.0, 1e6))));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      if (left > 0) continue;
      end(true);
      return {Answer::Kind::timed_out};
    }
    const ssize_t got = ::recv(socket_, &byte, 1, 0);
    if (got == 1) return {Answer::Kind::answered};
    if (got < 0 && errno == EINTR) continue;
    return end(false);
  }
}

}  // namespace gradus::testing::foreign
