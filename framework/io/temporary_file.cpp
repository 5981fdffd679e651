#include "framework/io/temporary_file.h"

#include <dirent.h>
#include <sys/stat.h>

#include <charconv>
#include <csignal>
#include <filesystem>
#include <memory>
#include <random>

#include "framework/base/error.h"

namespace gradus::io {
namespace {

constexpr std::string_view ending = ".partial";

/// The beginning of a temporary's path: the destination's, cut where the file system would find the whole too long.
std::string stem_of(const std::string& destination) {
  constexpr std::size_t longest_rest = 32;  // .PROCESS.RANDOM.partial
  const long limit = ::pathconf(folder_of(destination).c_str(), _PC_NAME_MAX);
  const std::size_t longest = limit > static_cast<long>(2 * longest_rest) ? static_cast<std::size_t>(limit) : 255;
  const std::size_t size = std::filesystem::path(destination).filename().native().size();
  if (size + longest_rest <= longest) return destination;
  std::size_t cut = destination.size() - size + longest - longest_rest;
  while ((destination[cut] & 0xc0) == 0x80) --cut;  // not inside a character
  return destination.substr(0, cut);
}

/// Made by this call, or -1.
int create(std::string& path, const std::string& destination) {
  std::random_device random;
  for (int attempt = 0; attempt < 100; ++attempt) {
    path = fmt::format("{}.{}.{:08x}{}", stem_of(destination), ::getpid(), random(), ending);
    const int descriptor = open_uninterrupted(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (descriptor >= 0 || errno != EEXIST) return descriptor;
  }
  return -1;
}

/// What the system would give a new file.
mode_t usual_mode() {
  const mode_t mask = ::umask(077);  // there is no other way to ask
  ::umask(mask);
  return 0666 & ~mask;
}

/// The process whose temporary has this name, after the stem: ".PROCESS.RANDOM.partial", earlier ".PROCESS.partial".
pid_t process_of(std::string_view rest) {
  pid_t process = 0;
  if (!rest.starts_with('.') || !rest.ends_with(ending)) return 0;
  rest = rest.substr(1, rest.size() - 1 - ending.size());
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), process);
  const std::string_view random = rest.substr(static_cast<std::size_t>(end - rest.data()));
  const bool well_formed = random.empty() || (random.size() == 9 && random[0] == '.' && random.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos);
  return error == std::errc() && well_formed ? process : 0;
}

}  // namespace

std::streamsize DescriptorBuffer::xsputn(const char* bytes, std::streamsize count) {
  std::streamsize done = 0;
  while (done < count && error_ == 0) {
    const ssize_t written = ::write(descriptor_, bytes + done, static_cast<std::size_t>(count - done));
    if (written >= 0) done += written;
    else if (errno != EINTR) error_ = errno;
  }
  return done;
}

DescriptorBuffer::int_type DescriptorBuffer::overflow(int_type character) {
  const char byte = traits_type::to_char_type(character);
  return xsputn(&byte, 1) == 1 ? character : traits_type::eof();
}

TemporaryFile::TemporaryFile(const Destination& destination, const std::string& name)
    : destination_(destination), name_(name), descriptor_(create(path_, destination.path)), buffer_(descriptor_), stream_(&buffer_) {
  check(descriptor_ >= 0);
}

TemporaryFile::~TemporaryFile() {
  if (is_there_) ::unlink(path_.c_str());
}

void TemporaryFile::check(bool good) const {
  if (!good) fail<OutputError>("{}: cannot be written: {}", name_, reason());
}

void TemporaryFile::take_place() {
  stream_.flush();
  if (!stream_.good()) errno = buffer_.error() != 0 ? buffer_.error() : EIO;
  check(stream_.good());
  // Not every file system has owners and modes: then the file is as private as it began.
  if (destination_.existing) {
    [[maybe_unused]] const int ignored = ::fchown(descriptor_, destination_.existing->owner, destination_.existing->group);
  }
  ::fchmod(descriptor_, destination_.existing ? destination_.existing->mode : usual_mode());
  check(::fsync(descriptor_) == 0);
  check(::rename(path_.c_str(), destination_.path.c_str()) == 0);
  is_there_ = false;
}

void remove_stale_temporaries(const Destination& destination) {
  const std::string folder = folder_of(destination.path), stem = std::filesystem::path(stem_of(destination.path)).filename();
  // Not with std::filesystem's iterators: where memory ends in one, libstdc++ ends the process.
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder.c_str()), ::closedir);
  while (const dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(stem)) continue;
    const pid_t process = process_of(name.substr(stem.size()));
    struct stat info {};
    if (process <= 0 || ::kill(process, 0) == 0 || errno != ESRCH) continue;
    const std::string path = folder + "/" + entry->d_name;
    if (::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == ::geteuid()) ::unlink(path.c_str());
  }
}

}  // namespace gradus::io
