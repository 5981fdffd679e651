// A library for LD_PRELOAD that makes one call of a program fail: of the calls that it makes after main has begun, the n-th.
//   FAILING_CALL   allocate, open, read, write, fsync, rename, close, mmap, statvfs, mkstemp, getcwd, lseek, ftruncate, stat
//   FAILING_AT     n, from 1; 0: none fails
//   FAILING_HOW    EIO, ENOSPC, EINTR, EMFILE, ENOMEM, EACCES; of reads and writes also `short`: they do half of it
//   FAILING_REPORT a file that is written when it happens: the objects whose code was on the way to the call, innermost first.
//                  With n = 0 it is written at the end: how many calls there were
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {

const char* failing_call = "";
long failing_at = 0;
int error_number = 0;  ///< 0: short
const char* report_path = nullptr;
std::atomic<long> calls{0};
std::atomic<bool> armed{false};

long open_report() { return ::syscall(SYS_openat, AT_FDCWD, report_path, O_WRONLY | O_CREAT | O_TRUNC, 0600); }

/// Without a call that could fail, or be counted.
void report() {
  if (!report_path) return;
  void* frames[24];
  const int count = ::backtrace(frames, 24);
  const long file = open_report();
  for (int i = 1; i < count; ++i) {
    Dl_info info{};
    if (!::dladdr(frames[i], &info) || !info.dli_fname) continue;
    const char* name = std::strrchr(info.dli_fname, '/');
    name = name ? name + 1 : info.dli_fname;
    ::syscall(SYS_write, file, name, std::strlen(name));
    char place[32];  // for addr2line
    std::snprintf(place, sizeof place, " 0x%zx ", static_cast<std::size_t>(static_cast<char*>(frames[i]) - static_cast<char*>(info.dli_fbase)));
    ::syscall(SYS_write, file, place, std::strlen(place));
    if (info.dli_sname) ::syscall(SYS_write, file, info.dli_sname, std::strlen(info.dli_sname));
    ::syscall(SYS_write, file, "\n", 1);
  }
  ::syscall(SYS_close, file);
}

/// Whether this call of `name` is the one.
bool fails(const char* name) {
  if (!armed.load(std::memory_order_relaxed) || std::strcmp(name, failing_call) != 0) return false;
  if (calls.fetch_add(1) + 1 != failing_at) return false;
  armed = false;
  report();
  errno = error_number;
  return true;
}

__attribute__((destructor)) void report_count() {
  if (failing_at != 0 || !report_path) return;
  armed = false;
  const std::string text = std::to_string(calls.load());
  const long file = open_report();
  ::syscall(SYS_write, file, text.data(), text.size());
  ::syscall(SYS_close, file);
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

using Main = int(int, char**, char**);
Main* program_main = nullptr;

int counting_main(int argc, char** argv, char** environment) {
  const auto setting = [](const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
  };
  failing_call = setting("FAILING_CALL");
  failing_at = std::atol(setting("FAILING_AT"));
  report_path = std::getenv("FAILING_REPORT");
  const struct {
    const char* name;
    int number;
  } errors[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EINTR", EINTR}, {"EMFILE", EMFILE}, {"ENOMEM", ENOMEM}, {"EACCES", EACCES}, {"short", 0}};
  for (const auto& error : errors) {
    if (std::strcmp(error.name, setting("FAILING_HOW")) == 0) error_number = error.number;
  }
  void* frames[1];
  ::backtrace(frames, 1);  // loads what it needs
  armed = true;
  return program_main(argc, argv, environment);
}

}  // namespace

extern "C" {

int __libc_start_main(Main* main, int argc, char** argv, void (*begin)(), void (*end)(), void (*end_of_loader)(), void* stack) {
  program_main = main;
  return next<int(Main*, int, char**, void (*)(), void (*)(), void (*)(), void*)>("__libc_start_main")(counting_main, argc, argv, begin, end, end_of_loader, stack);
}

// --- memory ---

void* malloc(std::size_t size) { return fails("allocate") ? nullptr : __libc_malloc(size); }
void* calloc(std::size_t count, std::size_t size) { return fails("allocate") ? nullptr : __libc_calloc(count, size); }
void* realloc(void* block, std::size_t size) { return fails("allocate") ? nullptr : __libc_realloc(block, size); }
void* memalign(std::size_t alignment, std::size_t size) { return fails("allocate") ? nullptr : __libc_memalign(alignment, size); }
void* aligned_alloc(std::size_t alignment, std::size_t size) { return fails("allocate") ? nullptr : __libc_memalign(alignment, size); }
int posix_memalign(void** block, std::size_t alignment, std::size_t size) {
  if (fails("allocate")) return ENOMEM;
  *block = __libc_memalign(alignment, size);
  return *block ? 0 : ENOMEM;
}

// --- files ---

int openat(int folder, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return fails("open") ? -1 : static_cast<int>(::syscall(SYS_openat, folder, path, flags, mode));
}
int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return fails("open") ? -1 : static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
int open64(const char* path, int flags, ...) __attribute__((alias("open")));
int openat64(int folder, const char* path, int flags, ...) __attribute__((alias("openat")));

ssize_t read(int file, void* bytes, std::size_t count) {
  if (fails("read")) {
    if (error_number) return -1;
    count = (count + 1) / 2;
  }
  return ::syscall(SYS_read, file, bytes, count);
}
ssize_t pread(int file, void* bytes, std::size_t count, off_t offset) {
  if (fails("read")) {
    if (error_number) return -1;
    count = (count + 1) / 2;
  }
  return ::syscall(SYS_pread64, file, bytes, count, offset);
}
ssize_t pread64(int file, void* bytes, std::size_t count, off64_t offset) __attribute__((alias("pread")));
ssize_t write(int file, const void* bytes, std::size_t count) {
  if (fails("write")) {
    if (error_number) return -1;
    count = (count + 1) / 2;
  }
  return ::syscall(SYS_write, file, bytes, count);
}
ssize_t writev(int file, const iovec* parts, int count) {
  if (fails("write")) return error_number ? -1 : ::syscall(SYS_write, file, parts[0].iov_base, (parts[0].iov_len + 1) / 2);
  return ::syscall(SYS_writev, file, parts, count);
}
/// Closed it is in any case.
int close(int file) {
  const bool failed = fails("close");
  const int status = static_cast<int>(::syscall(SYS_close, file));
  if (failed) errno = error_number;
  return failed ? -1 : status;
}
int fsync(int file) { return fails("fsync") ? -1 : static_cast<int>(::syscall(SYS_fsync, file)); }
int fdatasync(int file) { return fails("fsync") ? -1 : static_cast<int>(::syscall(SYS_fdatasync, file)); }
int rename(const char* from, const char* to) { return fails("rename") ? -1 : static_cast<int>(::syscall(SYS_rename, from, to)); }
int ftruncate(int file, off_t size) { return fails("ftruncate") ? -1 : static_cast<int>(::syscall(SYS_ftruncate, file, size)); }
int ftruncate64(int file, off64_t size) __attribute__((alias("ftruncate")));
off_t lseek(int file, off_t offset, int from) { return fails("lseek") ? -1 : ::syscall(SYS_lseek, file, offset, from); }
off64_t lseek64(int file, off64_t offset, int from) __attribute__((alias("lseek")));
void* mmap(void* address, std::size_t size, int protection, int flags, int file, off_t offset) {
  if (fails("mmap")) return MAP_FAILED;
  return reinterpret_cast<void*>(::syscall(SYS_mmap, address, size, protection, flags, file, offset));
}
void* mmap64(void* address, std::size_t size, int protection, int flags, int file, off64_t offset) __attribute__((alias("mmap")));
int statvfs(const char* path, struct statvfs* about) { return fails("statvfs") ? -1 : next<int(const char*, struct statvfs*)>("statvfs")(path, about); }
int statvfs64(const char* path, struct statvfs64* about) { return fails("statvfs") ? -1 : next<int(const char*, struct statvfs64*)>("statvfs64")(path, about); }
int stat(const char* path, struct stat* about) noexcept { return fails("stat") ? -1 : next<int(const char*, struct stat*)>("stat")(path, about); }
int fstat(int file, struct stat* about) noexcept { return fails("stat") ? -1 : next<int(int, struct stat*)>("fstat")(file, about); }
int mkstemp(char* pattern) { return fails("mkstemp") ? -1 : next<int(char*)>("mkstemp")(pattern); }
int mkostemp(char* pattern, int flags) { return fails("mkstemp") ? -1 : next<int(char*, int)>("mkostemp")(pattern, flags); }
char* getcwd(char* buffer, std::size_t size) noexcept { return fails("getcwd") ? nullptr : next<char*(char*, std::size_t)>("getcwd")(buffer, size); }

}  // extern "C"
