// An open file of the system's.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace gradus::io {

/// What errno says.
inline std::string reason() { return std::strerror(errno); }

/// open(), again where a signal came between.
inline int open_uninterrupted(const std::string& path, int flags, mode_t mode = 0) {
  int number;
  do {
    number = ::open(path.c_str(), flags, mode);
  } while (number < 0 && errno == EINTR);
  return number;
}

/// Closes itself; -1 where opening failed, errno says why.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : number_(open_uninterrupted(path, flags | O_CLOEXEC | O_NOCTTY)) {}
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return number_; }

 private:
  int number_;
};

}  // namespace gradus::io
