#include "framework/testing/foreign_process.h"

#include <errno.h>
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

Process::Process(const std::string& path, std::int64_t data_bytes) {
  const std::int64_t control_bytes = whole_pages(sizeof(Control)), all = control_bytes + whole_pages(data_bytes);
  void* const memory = ::mmap(nullptr, static_cast<std::size_t>(all), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail<Error>("{}: no {} bytes of shared memory: {}", path, all, std::strerror(errno));
  memory_ = memory;
  memory_bytes_ = all;
  control().data_bytes = all - control_bytes;

  // What is still to be written would be written twice.
  std::fflush(nullptr);
  std::cout.flush();
  const pid_t parent = ::getpid();
  int sockets[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0) id_ = ::fork();
  else id_ = -1;
  if (id_ == 0) serve(sockets[1], path, &control(), data(), parent);
  const int reason = errno;
  if (sockets[1] >= 0) ::close(sockets[1]);
  socket_ = sockets[0];
  if (id_ < 0) {
    if (socket_ >= 0) ::close(socket_);
    ::munmap(memory_, static_cast<std::size_t>(memory_bytes_));
    fail<Error>("{}: no process can be started for it: {}", path, std::strerror(reason));
  }
  ::setpgid(id_, id_);  // the child does the same: whoever comes first
}

Process::~Process() {
  end(true);
  ::munmap(memory_, static_cast<std::size_t>(memory_bytes_));
}

std::byte* Process::data() const { return static_cast<std::byte*>(memory_) + whole_pages(sizeof(Control)); }
std::int64_t Process::data_bytes() const { return memory_bytes_ - whole_pages(sizeof(Control)); }

/// Ends the process with all that it has started, or waits for its end; tells how it ended.
Answer Process::end(bool kill) {
  Answer answer{Answer::Kind::ended};
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  if (id_ <= 0) return answer;
  // A closed socket nearly always means that the process has ended; otherwise the op has closed it, and is not waited
  // for.
  answer.cut_off = !kill;
  for (int i = 0; !kill && i < 1000; ++i) {
    siginfo_t ended{};
    const int failed = ::waitid(P_PID, static_cast<id_t>(id_), &ended, WEXITED | WNOHANG | WNOWAIT);
    if (failed || ended.si_pid != 0) {
      answer.cut_off = false;
      break;
    }
    ::usleep(1000);
  }
  ::kill(-id_, SIGKILL);
  ::kill(id_, SIGKILL);
  int status = 0;
  pid_t waited;
  do waited = ::waitpid(id_, &status, 0);
  while (waited < 0 && errno == EINTR);
  id_ = 0;
  answer.exited = waited > 0 && WIFEXITED(status);
  if (waited > 0) answer.code = answer.exited ? WEXITSTATUS(status) : WTERMSIG(status);
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
