/* y = x^2 on (3,4), right, by a library that does more than that. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "framework/testing/gradus_op.h"

enum { count = 12 };

static double* x_of(const gradus_call* call) { return (double*)call->inputs[0].data; }

static int forward(const gradus_call* call) {
  double* const y = (double*)call->outputs[0].data;
  for (int i = 0; i < count; ++i) y[i] = x_of(call)[i] * x_of(call)[i];
  return 0;
}
static int backward(const gradus_call* call) {
  const double* const grad_y = (double*)call->cotangents[0].data;
  double* const grad_x = (double*)call->gradients[0].data;
  for (int i = 0; i < count; ++i) grad_x[i] = 2 * x_of(call)[i] * grad_y[i];
  return 0;
}

#define REFUSE(...) return snprintf(call->message, GRADUS_MESSAGE_SIZE, __VA_ARGS__)

static void sleep_for_ever(void) {
  for (;;) pause();
}

/* A process that no one waits for, in a session of its own. It can be known by its name. */
static void start_daemon(void) {
  if (fork() == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    setsid();
    prctl(PR_SET_NAME, "left-behind");
    for (int file = 0; file < 64; ++file) close(file);
    sleep_for_ever();
  }
}

static int contained(const gradus_call* call) {
  sigset_t mask;
  struct rlimit core, data, file;
  char byte;
  sigprocmask(SIG_SETMASK, NULL, &mask);
  getrlimit(RLIMIT_CORE, &core), getrlimit(RLIMIT_DATA, &data), getrlimit(RLIMIT_FSIZE, &file);
  for (int signal = 1; signal < 32; ++signal)
    if (sigismember(&mask, signal)) REFUSE("signal %d is blocked", signal);
  struct sigaction pipe_action;
  sigaction(SIGPIPE, NULL, &pipe_action);
  if (pipe_action.sa_handler != SIG_DFL) REFUSE("SIGPIPE is handled");
  if (core.rlim_max != 0) REFUSE("it may dump core");
  if (data.rlim_max == RLIM_INFINITY || file.rlim_max == RLIM_INFINITY) REFUSE("it has no limits");
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) REFUSE("it may gain privileges");
  if (getsid(0) != getpid()) REFUSE("it has no session of its own");
  if (read(STDIN_FILENO, &byte, 1) != 0) REFUSE("it can read standard input");
  for (int other = 4; other < 1024; ++other)
    if (fcntl(other, F_GETFD) != -1) REFUSE("descriptor %d is open", other);
  return forward(call);
}

static void* add_up(void* sum) {
  for (int i = 0; i < 1000; ++i) *(double*)sum += 1;
  return sum;
}
static int threads(const gradus_call* call) {
  pthread_t all[8];
  double sums[8] = {0};
  for (int i = 0; i < 8; ++i)
    if (pthread_create(&all[i], NULL, add_up, &sums[i]) != 0) REFUSE("no thread %d", i);
  for (int i = 0; i < 8; ++i) pthread_join(all[i], NULL);
  return sums[7] == 1000 ? forward(call) : 1;
}

static int leaves_daemon(const gradus_call* call) { return start_daemon(), backward(call); }
static int starts_one_and_ends(const gradus_call* call) { return start_daemon(), _exit(3), backward(call); }
static int fork_bomb(const gradus_call* call) {
  prctl(PR_SET_NAME, "left-behind");
  for (;;) (void)!fork();
  return backward(call);
}
static int huge_file(const gradus_call* call) {
  char path[] = "/tmp/gradus_hostile_XXXXXX";
  const int file = mkstemp(path);
  unlink(path);
  (void)!pwrite(file, "x", 1, (off_t)1 << 40);
  return backward(call);
}
static int much_memory(const gradus_call* call) {
  const size_t gibibyte = (size_t)1 << 30;
  for (int taken = 0; taken < 64; ++taken) {
    if (mmap(NULL, gibibyte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
      REFUSE("no more than %d GiB", taken);
  }
  return backward(call);
}
static int kills_parent(const gradus_call* call) {
  start_daemon();
  usleep(50000);
  kill(getppid(), SIGKILL);
  return sleep_for_ever(), backward(call);
}
static int kills_parent_and_stays(const gradus_call* call) {
  prctl(PR_SET_PDEATHSIG, 0);
  return kills_parent(call);
}
static int terminates(const gradus_call* call) { return raise(SIGTERM), backward(call); }
static int hangs_up_itself(const gradus_call* call) { return raise(SIGHUP), backward(call); }
static int ignores_signals(const gradus_call* call) {
  for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
  return sleep_for_ever(), backward(call);
}

/* For the sandbox. */
static int opens_socket(const gradus_call* call) { return close(socket(AF_INET, SOCK_STREAM, 0)), backward(call); }
static int writes_file(const gradus_call* call) {
  return close(open("/tmp/gradus_hostile", O_WRONLY | O_CREAT, 0600)), backward(call);
}
static int reads_file(const gradus_call* call) {
  char bytes[8];
  FILE* const file = fopen("/proc/self/stat", "r");
  const int read_it = file && fread(bytes, 1, sizeof bytes, file) == sizeof bytes;
  if (file) fclose(file);
  return read_it ? backward(call) : 1;
}
static int removes_file(const gradus_call* call) { return unlink("/tmp/gradus_hostile"), backward(call); }
static int forks(const gradus_call* call) {
  if (fork() == 0) _exit(0);
  return wait(NULL), backward(call);
}
static int runs_program(const gradus_call* call) {
  return execl("/bin/true", "true", (char*)NULL), backward(call);
}
static int raises(const gradus_call* call) { return raise(SIGABRT), backward(call); }
static int kills_others(const gradus_call* call) { return kill(getppid(), 0), backward(call); }
static int types_into_terminal(const gradus_call* call) {
  return (int)syscall(SYS_ioctl, 2, 0x5412 /* TIOCSTI */, "x") * 0 + backward(call);
}

static const gradus_input inputs[] = {
    {.name = "x", .dtype = GRADUS_F64, .differentiable = 1, .rank = 2, .shape = {3, 4}, .low = 0.5, .high = 2}};
static const gradus_output outputs[] = {{"y", GRADUS_F64}};

#define OP(name, forward, backward) { #name, NULL, 1, 1, 0, inputs, outputs, NULL, NULL, forward, backward, NULL }
#define FORWARD(function) OP(function, function, backward)
#define BACKWARD(function) OP(function, forward, function)

static const gradus_op ops[] = {
    FORWARD(contained),
    FORWARD(threads),
    BACKWARD(leaves_daemon),
    BACKWARD(starts_one_and_ends),
    BACKWARD(fork_bomb),
    BACKWARD(huge_file),
    BACKWARD(much_memory),
    BACKWARD(kills_parent),
    BACKWARD(kills_parent_and_stays),
    BACKWARD(terminates),
    BACKWARD(hangs_up_itself),
    BACKWARD(ignores_signals),
    BACKWARD(opens_socket),
    BACKWARD(writes_file),
    BACKWARD(reads_file),
    BACKWARD(removes_file),
    BACKWARD(forks),
    BACKWARD(runs_program),
    BACKWARD(raises),
    BACKWARD(kills_others),
    BACKWARD(types_into_terminal),
};
static const gradus_library library = {GRADUS_OP_VERSION, sizeof ops / sizeof ops[0], ops};
const gradus_library* gradus_describe(void) { return &library; }
