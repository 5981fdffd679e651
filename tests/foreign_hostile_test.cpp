// Libraries that fork, kill, write and allocate: the checker says so, and when it is done nothing of theirs is left.
#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <chrono>
#include <cstddef>
#include <fstream>
#include <thread>

#include "tests/messages.h"
#include "tests/program.h"

namespace {

const std::string library = GRADUS_FOREIGN_OPS "/hostile_ops.so";

/// In the environment of the program, and so of all that comes of it.
const std::string mark = "GRADUS_HOSTILE_TEST=" + std::to_string(::getpid());

/// Processes that bear the mark and run.
int marked_processes() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream stat(entry.path() / "stat"), environment(entry.path() / "environ", std::ios::binary);
    std::string text;
    if (!std::getline(stat, text) || text[text.rfind(')') + 2] == 'Z') continue;
    const std::string variables(std::istreambuf_iterator<char>(environment), {});
    count += has(variables, mark + '\0');
  }
  return count;
}

bool nothing_left() {
  for (int i = 0; i < 300 && marked_processes() > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return marked_processes() == 0;
}

const TemporaryFolder& folder() {
  static TemporaryFolder folder;
  return folder;
}

struct Row {
  std::string op;
  int status;
  std::string said;
};
void check_rows(const std::vector<Row>& table, const std::string& flags) {
  for (const Row& row : table) {
    CAPTURE(row.op);
    const Outcome outcome = run_program(folder(), words("gradcheck --lib " + library + " --op " + row.op + " " + flags), {mark});
    CHECK(outcome.status == row.status);
    CHECK_MESSAGE(has(outcome.out, row.said), "it said: ", outcome.out, outcome.err);
    CHECK(nothing_left());
  }
}

}  // namespace

TEST_CASE("what a library does besides computing is bounded, and said") {
  check_rows({{"contained", 0, "agree"},
              {"threads", 0, "agree"},
              {"leaves_daemon", 0, "agree"},
              {"starts_one_and_ends", 6, "backward ended the process with exit code 3"},
              {"huge_file", 6, "backward crashed: a file grew beyond 256 MiB, which is as much as an op may write"},
              {"much_memory", 3, "backward refused: no more than "},
              {"kills_parent", 6, "backward ended the process that keeps watch over it"},
              {"terminates", 6, "backward crashed: signal 15"},
              {"hangs_up_itself", 6, "backward crashed: signal 1"}},
             "");
  check_rows({{"ignores_signals", 6, "backward did not return within 0.5 s"},
              {"kills_parent_and_stays", 6, "backward did not return within 0.5 s"}},
             "--timeout 0.5");
}

TEST_CASE("a fork bomb ends") {
  check_rows({{"fork_bomb", 6, "backward had more than 512 processes and threads at a time, and was ended"}}, "--timeout 30");
}

TEST_CASE("nothing is left where the checker itself is killed") {
  for (const char* op : {"ignores_signals", "fork_bomb"}) {
    CAPTURE(op);
    Program program(folder(), gradus_command({"gradcheck", "--lib", library, "--op", op, "--timeout", "60"}), {mark});
    while (!program.has_ended() && marked_processes() < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    program.send(SIGKILL);
    CHECK(program.wait().status == 128 + SIGKILL);
    CHECK(nothing_left());
  }
}

TEST_CASE("in the sandbox a library computes, reads files and starts threads, and nothing else") {
  check_rows({{"threads", 0, "agree"},
              {"reads_file", 0, "agree"},
              {"opens_socket", 6, "FORBIDDEN\n  hostile_ops.so: opens_socket: backward tried to open the network (socket), which "
                                  "the sandbox does not allow"},
              {"writes_file", 6, "backward tried to write a file (open"},
              {"removes_file", 6, "backward tried to remove a file (unlink"},
              {"forks", 6, "backward tried to start a process (clone)"},
              {"leaves_daemon", 6, "backward tried to start a process (clone)"},
              {"runs_program", 6, "backward tried to start a program (execve)"},
              {"kills_others", 6, "backward tried to send a signal to another process (kill)"},
              {"types_into_terminal", 6, "backward tried to control a device (ioctl)"},
              {"raises", 6, "backward crashed: abort() was called"}},
             "--sandbox");
}

TEST_CASE("ops are the same in the sandbox as outside") {
  for (const char* name : {"right_ops", "right_ops_cpp"}) {
    const std::string line = std::string("gradcheck --lib " GRADUS_FOREIGN_OPS "/") + name + ".so";
    const Outcome outside = run_program(folder(), words(line)), inside = run_program(folder(), words(line + " --sandbox"));
    CHECK(inside.status == 0);
    CHECK(inside.out == outside.out);
  }
  const Outcome alone = run_program(folder(), words("gradcheck --op relu --sandbox"));
  CHECK(alone.status == 2);
  CHECK(has(alone.err, "gradus: --sandbox goes with --lib"));
}

TEST_CASE("where the kernel has no filters, a library is not run without one") {
  const pid_t process = ::fork();
  if (process == 0) {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_SECCOMP, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{std::size(program), program};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) ::_exit(77);
    const Outcome outcome = run_program(folder(), words("gradcheck --lib " + library + " --op threads --sandbox"));
    const bool refused = outcome.status == 1 && outcome.out.empty() &&
                         has(outcome.err, "gradus: hostile_ops.so: it is not run, there is no sandbox here: "
                                          "the kernel takes no filter of system calls: Invalid argument\n");
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  ::waitpid(process, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    MESSAGE("skipped: no filter of system calls can be set here");
    return;
  }
  CHECK(status == 0);
}
