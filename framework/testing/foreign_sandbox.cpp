#include "framework/testing/foreign_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <cstddef>
#include <map>
#include <vector>

#include "framework/base/error.h"

namespace gradus::testing::foreign {
namespace {

#if defined(__x86_64__)
constexpr unsigned architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned architecture = AUDIT_ARCH_AARCH64;
#else
constexpr unsigned architecture = 0;
#endif

/// Calls that every argument is allowed for: they reach no further than this process and what it may read.
constexpr long harmless[] = {
    SYS_read, SYS_readv, SYS_pread64, SYS_write, SYS_writev, SYS_close, SYS_close_range, SYS_lseek, SYS_fstat,
    SYS_newfstatat, SYS_statx, SYS_faccessat, SYS_faccessat2, SYS_readlinkat, SYS_getcwd, SYS_getdents64, SYS_statfs,
    SYS_fstatfs, SYS_dup, SYS_dup3, SYS_fcntl, SYS_ppoll, SYS_pselect6, SYS_epoll_create1, SYS_epoll_ctl,
    SYS_epoll_pwait, SYS_eventfd2, SYS_pipe2,
    SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_brk, SYS_madvise, SYS_mincore, SYS_mlock, SYS_munlock,
    SYS_membarrier, SYS_get_mempolicy,
    SYS_futex, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq, SYS_set_tid_address, SYS_sched_yield,
    SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_sched_getparam, SYS_sched_getscheduler, SYS_getcpu,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigsuspend, SYS_rt_sigtimedwait,
    SYS_sigaltstack, SYS_restart_syscall,
    SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_times, SYS_getrusage,
    SYS_getitimer, SYS_setitimer,
    SYS_getpid, SYS_getppid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid,
    SYS_getsid, SYS_getpgid, SYS_uname, SYS_sysinfo, SYS_getrandom, SYS_exit, SYS_exit_group,
#if defined(__x86_64__)
    SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_getdents, SYS_dup2, SYS_poll, SYS_select, SYS_epoll_wait,
    SYS_pipe, SYS_time, SYS_getrlimit, SYS_pause, SYS_getpgrp, SYS_arch_prctl,
#endif
};

/// The filter: a program for the kernel's small machine, one comparison after the other.
class Filter {
 public:
  Filter() {
    add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)));
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, architecture, 1, 0));
    add(returns(SECCOMP_RET_TRAP));
    add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  }
  void allow(long call) { answer(call, SECCOMP_RET_ALLOW); }
  /// As a kernel that does not know the call: libraries then take another way.
  void unknown(long call) { answer(call, SECCOMP_RET_ERRNO | ENOSYS); }
  /// Where these bits of the argument's lower half are `wanted`.
  void allow_where(long call, int argument, unsigned mask, unsigned wanted, unsigned otherwise = SECCOMP_RET_TRAP) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 5));
    add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offsetof(seccomp_data, args) + 8 * argument)));
    add(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask));
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wanted, 0, 1));
    add(returns(SECCOMP_RET_ALLOW));
    add(returns(otherwise));
  }
  /// False where the kernel does not take it; errno says why.
  bool install() {
    add(returns(SECCOMP_RET_TRAP));
    const sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
  }

 private:
  static sock_filter returns(unsigned action) { return BPF_STMT(BPF_RET | BPF_K, action); }
  void answer(long call, unsigned action) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1));
    add(returns(action));
  }
  void add(sock_filter step) { code_.push_back(step); }
  std::vector<sock_filter> code_;
};

}  // namespace

std::string enter_sandbox(int socket) {
  if (architecture == 0) return "there is none for this processor";
  constexpr unsigned all = ~0u, writing = O_ACCMODE | O_CREAT | O_TRUNC;
  const unsigned self = static_cast<unsigned>(::getpid());
  Filter filter;
  for (const long call : harmless) filter.allow(call);
  filter.allow_where(SYS_clone, 0, CLONE_THREAD, CLONE_THREAD);
  filter.unknown(SYS_clone3);  // its flags lie where a filter cannot look
  filter.allow_where(SYS_openat, 2, writing, O_RDONLY);
  filter.unknown(SYS_openat2);
#if defined(__x86_64__)
  filter.allow_where(SYS_open, 1, writing, O_RDONLY);
#endif
  filter.allow_where(SYS_recvfrom, 0, all, static_cast<unsigned>(socket));
  filter.allow_where(SYS_sendto, 0, all, static_cast<unsigned>(socket));
  filter.allow_where(SYS_kill, 0, all, self);
  filter.allow_where(SYS_tgkill, 0, all, self);
  filter.allow_where(SYS_ioctl, 1, all, TCGETS);  // isatty
  filter.allow_where(SYS_prctl, 0, all, PR_SET_NAME, SECCOMP_RET_ERRNO | EINVAL);
  filter.allow_where(SYS_prlimit64, 2, all, 0, SECCOMP_RET_ERRNO | EPERM);  // looking is allowed
  return filter.install() ? "" : fmt::format("the kernel takes no filter of system calls: {}", std::strerror(errno));
}

std::string act_of(long system_call) {
  static const std::map<long, std::pair<const char*, const char*>> known = {
      {SYS_socket, {"to open the network", "socket"}},
      {SYS_socketpair, {"to open a socket", "socketpair"}},
      {SYS_connect, {"to open the network", "connect"}},
      {SYS_bind, {"to open the network", "bind"}},
      {SYS_openat, {"to write a file", "openat"}},
      {SYS_mkdirat, {"to make a folder", "mkdirat"}},
      {SYS_unlinkat, {"to remove a file", "unlinkat"}},
      {SYS_renameat2, {"to rename a file", "renameat2"}},
      {SYS_ftruncate, {"to write a file", "ftruncate"}},
      {SYS_clone, {"to start a process", "clone"}},
      {SYS_execve, {"to start a program", "execve"}},
      {SYS_kill, {"to send a signal to another process", "kill"}},
      {SYS_tgkill, {"to send a signal to another process", "tgkill"}},
      {SYS_ptrace, {"to look into another process", "ptrace"}},
      {SYS_setsid, {"to leave its session", "setsid"}},
      {SYS_ioctl, {"to control a device", "ioctl"}},
#if defined(__x86_64__)
      {SYS_open, {"to write a file", "open"}},
      {SYS_creat, {"to write a file", "creat"}},
      {SYS_mkdir, {"to make a folder", "mkdir"}},
      {SYS_unlink, {"to remove a file", "unlink"}},
      {SYS_rename, {"to rename a file", "rename"}},
      {SYS_fork, {"to start a process", "fork"}},
      {SYS_vfork, {"to start a process", "vfork"}},
#endif
  };
  const auto found = known.find(system_call);
  if (found == known.end()) return fmt::format("to make system call {}", system_call);
  return fmt::format("{} ({})", found->second.first, found->second.second);
}

}  // namespace gradus::testing::foreign
