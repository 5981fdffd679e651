// The life of the process in which a foreign op runs.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cfenv>
#include <cstdio>
#include <iostream>
#include <vector>

#include "framework/base/error.h"
#include "framework/testing/foreign_keeper.h"
#include "framework/testing/foreign_protocol.h"
#include "framework/testing/foreign_sandbox.h"

namespace gradus::testing::foreign {
namespace {

Control* control = nullptr;  ///< for the signal handler
pid_t own_id = 0;
alignas(16) char signal_stack[64 * 1024];

void leave_note(int signal, siginfo_t* info, void* raw_context) {
  if (::getpid() != own_id) ::_exit(128 + signal);  // one that the op has started
  [[maybe_unused]] const auto* context = static_cast<const ucontext_t*>(raw_context);
  control->signal_code = info->si_code;
  control->address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  control->system_call = signal == SIGSYS ? info->si_syscall : 0;
  control->access = -1;
#if defined(__x86_64__)
  if (signal == SIGSEGV) control->access = context->uc_mcontext.gregs[REG_ERR] & 2 ? 1 : 0;
  control->stack_pointer = static_cast<std::uint64_t>(context->uc_mcontext.gregs[REG_RSP]);
#elif defined(__aarch64__)
  control->stack_pointer = context->uc_mcontext.sp;
#endif
  control->signal = signal;
  ::_exit(128 + signal);
}

void install_handlers() {
  stack_t stack{};
  stack.ss_sp = signal_stack;
  stack.ss_size = sizeof signal_stack;
  ::sigaltstack(&stack, nullptr);
  struct sigaction noted {
  }, usual{};
  noted.sa_sigaction = leave_note;
  noted.sa_flags = SA_SIGINFO | SA_ONSTACK;
  usual.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &usual, nullptr);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGXFSZ})
    ::sigaction(signal, &noted, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// Runs before the exit handlers that were copied from the parent, which must not run here.
void leave_at_exit(int status, void*) { ::_exit(status); }

void lower(__rlimit_resource resource, std::int64_t most) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max = std::min(limit.rlim_max, static_cast<rlim_t>(most));
  ::setrlimit(resource, &limit);
}

/// Bytes of private memory that this process has, of the checker's mostly.
std::int64_t private_memory() {
  long pages[6] = {};
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    for (long& count : pages) (void)!std::fscanf(file, "%ld", &count);
    std::fclose(file);
  }
  return pages[5] * page_size();
}

/// Against accidents: a loop that allocates, writes or forks without end.
void limit_resources() {
  constexpr std::int64_t most_memory = std::int64_t{4} << 30;
  const std::int64_t all_memory = ::sysconf(_SC_PHYS_PAGES) * page_size();
  lower(RLIMIT_CORE, 0);
  lower(RLIMIT_FSIZE, largest_file);
  lower(RLIMIT_DATA, private_memory() + std::min(most_memory, all_memory));
  lower(RLIMIT_NPROC, tasks_of_system() + most_tasks);  // the kernel counts all of a user's, and does not hold root to it
}

void become_a_child_of(int keeper, int socket) {
  own_id = ::getpid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != keeper) ::_exit(0);
  ::setsid();
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_NAME, "gradus-op");
  if (socket != 3) ::dup2(socket, 3);
  ::close_range(4, ~0u, 0);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  if (nothing > 3) ::close(nothing);
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  limit_resources();
  // The threads of the parent's OpenMP pool were not copied: a parallel region would wait for them for ever.
  omp_set_num_threads(1);
  install_handlers();
  ::on_exit(leave_at_exit, nullptr);
}

void keep_message(const char* text) {
  const std::size_t size = ::strnlen(text, GRADUS_MESSAGE_SIZE - 1);
  std::memcpy(control->message, text, size);
  control->message[size] = 0;
}

class Child {
 public:
  Child(const std::string& path, std::byte* data) : path_(path), data_(data) {}

  void answer() {
    switch (control->request) {
      case Request::load: load(); break;
      case Request::shape: infer_shapes(); break;
      case Request::forward: run(op().forward, Stage::forward); break;
      case Request::backward: run(op().backward, Stage::backward); break;
      case Request::jvp: run(op().jvp, Stage::jvp); break;
    }
    std::fflush(stdout);
    std::cout.flush();
  }

 private:
  const gradus_op& op() const { return library_->ops[control->op]; }

  void load() {
    if (control->sandbox) {
      if (const std::string reason = enter_sandbox(3); !reason.empty()) {
        control->result = Result::no_sandbox;
        return keep_message(reason.c_str());
      }
    }
    control->stage = Stage::loading;
    void* library = ::dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
    const char* reason = library ? nullptr : ::dlerror();
    const auto describe =
        library ? reinterpret_cast<const gradus_library* (*)()>(::dlsym(library, "gradus_describe")) : nullptr;
    if (!describe) {
      control->result = Result::no_library;
      keep_message(library  ? "it has no function gradus_describe (see gradus_op.h; in C++ it must be extern \"C\")"
                   : reason ? reason
                            : "it cannot be loaded");
      return;
    }
    control->stage = Stage::describing;
    library_ = describe();
    control->stage = Stage::reading;
    try {
      control->record_count = read_description(library_, reinterpret_cast<OpRecord*>(data_));
    } catch (const ContractError& error) {
      control->result = Result::bad_description;
      keep_message(error.what());
    }
  }

  void infer_shapes() {
    if (op().shape) return call(op().shape, Stage::shape);
    for (int i = 0; i < op().output_count; ++i) {
      control->outputs[i].rank = control->inputs[0].rank;
      std::copy_n(control->inputs[0].shape, GRADUS_MAX_RANK, control->outputs[i].shape);
    }
  }

  void run(gradus_function function, Stage stage) {
    protect_buffers();
    call(function, stage);
  }

  void call(gradus_function function, Stage stage) {
    gradus_call call{};
    call.inputs = control->inputs;
    call.outputs = control->outputs;
    call.attributes = control->attributes;
    if (stage == Stage::backward) {
      call.cotangents = control->cotangents;
      call.gradients = control->gradients;
    } else if (stage == Stage::jvp) {
      call.tangents = control->tangents;
      call.output_tangents = control->output_tangents;
    }
    call.message = control->message;
    control->stage = stage;
    std::fesetround(control->rounding);
    control->returned = function(&call);
    std::fesetround(FE_TONEAREST);
    if (control->returned != 0) control->result = Result::refused;
  }

  void protect(std::int64_t offset, std::int64_t bytes, int protection) {
    if (bytes > 0 && ::mprotect(data_ + offset, static_cast<std::size_t>(bytes), protection) != 0) ::_exit(126);
  }

  void protect_buffers() {
    if (control->relayout) {
      protect(0, control->data_bytes, PROT_NONE);
      protections_.assign(static_cast<std::size_t>(control->buffer_count), PROT_NONE);
    }
    for (std::size_t i = 0; i < protections_.size(); ++i) {
      const Pages& pages = control->buffers[i];
      const int wanted = pages.writable ? PROT_READ | PROT_WRITE : PROT_READ;
      if (protections_[i] == wanted) continue;
      protect(pages.offset, pages.bytes, wanted);
      protections_[i] = wanted;
    }
  }

  std::string path_;
  std::byte* data_;
  const gradus_library* library_ = nullptr;
  std::vector<int> protections_;
};

}  // namespace

void serve(int socket, const std::string& path, Control* shared, std::byte* data, int keeper) {
  control = shared;
  become_a_child_of(keeper, socket);
  Child child(path, data);
  for (;;) {
    char byte;
    const ssize_t got = ::recv(3, &byte, 1, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got != 1) ::_exit(0);
    try {
      child.answer();
    } catch (const std::exception& error) {
      control->result = Result::threw;
      keep_message(error.what());
    } catch (...) {
      control->result = Result::threw;
      keep_message("of a type that is not a std::exception");
    }
    while (::send(3, &byte, 1, MSG_NOSIGNAL) < 0) {
      if (errno != EINTR) ::_exit(0);
    }
  }
}

}  // namespace gradus::testing::foreign
