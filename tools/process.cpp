#include "tools/process.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <iostream>

namespace gradus::tools {
namespace {

bool reader_has_gone() {
  pollfd file{STDOUT_FILENO, POLLOUT, 0};
  return ::poll(&file, 1, 0) == 1 && (file.revents & (POLLERR | POLLHUP)) != 0;
}

}  // namespace

void reserve_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) != -1 || errno != EBADF) continue;
    // Opened the wrong way round, so that using it fails as if it were closed.
    ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

void outlive_readers() { std::signal(SIGPIPE, SIG_IGN); }

bool standard_output_is_whole() {
  std::cout.flush();
  return (std::fflush(stdout) == 0 && !std::ferror(stdout) && std::cout.good()) || reader_has_gone();
}

}  // namespace gradus::tools
