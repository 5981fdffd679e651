// Bytes under a path, without a disk.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace gradus::fuzz {

class InputFile {
 public:
  explicit InputFile(std::string_view bytes) : number_(::memfd_create("input", MFD_CLOEXEC)) {
    for (std::size_t done = 0; number_ >= 0 && done < bytes.size();) {
      const ssize_t count = ::write(number_, bytes.data() + done, bytes.size() - done);
      if (count < 0) throw std::runtime_error("the input cannot be laid down");
      done += static_cast<std::size_t>(count);
    }
    if (number_ < 0) throw std::runtime_error("no file in memory can be made");
  }
  ~InputFile() { ::close(number_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(number_); }

 private:
  int number_;
};

}  // namespace gradus::fuzz
