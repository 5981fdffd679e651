#include "framework/testing/foreign_keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <vector>

namespace gradus::testing::foreign {
namespace {

struct Task {
  pid_t process = 0, parent = 0, group = 0, session = 0;
  int threads = 0;
};

/// Text of a small file of /proc; empty where it is gone.
template <std::size_t size>
void read_text(const char* path, char (&text)[size]) {
  text[0] = 0;
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  const ssize_t count = ::read(file, text, size - 1);
  text[std::max<ssize_t>(count, 0)] = 0;
  ::close(file);
}

std::vector<Task> all_tasks() {
  std::vector<Task> tasks;
  DIR* const processes = ::opendir("/proc");
  if (!processes) return tasks;
  while (const dirent* entry = ::readdir(processes)) {
    char path[64], text[1024];
    Task task;
    task.process = ::atoi(entry->d_name);
    if (task.process <= 0) continue;
    std::snprintf(path, sizeof path, "/proc/%d/stat", task.process);
    read_text(path, text);
    const char* const fields = ::strrchr(text, ')');  // behind the name, which may hold anything
    if (fields && std::sscanf(fields + 1, " %*c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d",
                              &task.parent, &task.group, &task.session, &task.threads) == 4)
      tasks.push_back(task);
  }
  ::closedir(processes);
  return tasks;
}

std::vector<Task> descendants_of(pid_t ancestor) {
  const std::vector<Task> all = all_tasks();
  std::vector<Task> found;
  std::vector<pid_t> parents = {ancestor};
  for (std::size_t i = 0; i < parents.size(); ++i) {
    for (const Task& task : all) {
      if (task.parent != parents[i]) continue;
      found.push_back(task);
      parents.push_back(task.process);
    }
  }
  return found;
}

/// A group ends as one: none of it can start another process meanwhile.
void kill_with_group(const Task& task) {
  if (task.group != ::getpgrp()) ::kill(-task.group, SIGKILL);
  ::kill(task.process, SIGKILL);
}

class Keeper {
 public:
  Keeper(int reports, pid_t checker) : reports_(reports), checker_(checker) {}

  [[noreturn]] void run(const std::function<void(pid_t)>& live) {
    become_keeper();
    const pid_t self = ::getpid();
    report_.op = ::fork();
    if (report_.op == 0) {
      live(self);
      ::_exit(0);
    }
    report_.error = errno;
    if (report_.op < 0) report_.op = 0;
    keep_nothing_open();
    tell();
    if (report_.op > 0) {
      watch();
      end_all();
      tell();
    }
    ::_exit(0);
  }

 private:
  void become_keeper() {
    ::signal(SIGCHLD, SIG_DFL);
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
    ::setpgid(0, 0);  // what is sent to the checker's whole group is not for the keeper
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != checker_) ::_exit(0);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    ::prctl(PR_SET_NAME, "gradus-keeper");
  }

  void keep_nothing_open() {
    const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing, stream);
    if (reports_ != 3) ::dup2(reports_, 3);
    reports_ = 3;
    ::close_range(4, ~0u, 0);
  }

  void tell() { (void)!::write(reports_, &report_, sizeof report_); }

  /// False once all children have ended.
  bool reap() {
    for (;;) {
      int status = 0;
      const pid_t ended = ::waitpid(-1, &status, WNOHANG | __WALL);
      if (ended == 0) return true;
      if (ended < 0) return false;
      if (ended == report_.op) report_.wait_status = status, op_ended_ = true;
    }
  }

  /// Until it is time to end.
  void watch() {
    sigset_t awaited;
    ::sigemptyset(&awaited);
    ::sigaddset(&awaited, SIGCHLD);
    ::sigaddset(&awaited, SIGTERM);
    const timespec tick{0, 10'000'000};
    long fewest = tasks_of_system();
    for (;;) {
      const int signal = ::sigtimedwait(&awaited, nullptr, &tick);
      reap();
      if (op_ended_ || signal == SIGTERM || ::getppid() != checker_) return;
      const long tasks = tasks_of_system();  // all are counted before the op's own, which takes longer
      fewest = std::min(fewest, tasks);
      if (tasks - fewest <= most_tasks) continue;
      int own = 0;
      for (const Task& task : descendants_of(::getpid())) own += task.threads;
      report_.too_many = own > most_tasks;
      if (report_.too_many) return;
      fewest = tasks - own;
    }
  }

  void end_all() {
    ::kill(-report_.op, SIGKILL);
    if (!op_ended_) ::kill(report_.op, SIGKILL);  // afterwards the number may be another process's
    for (int round = 0; reap(); ++round) {
      if (round > 5 || report_.too_many) {
        for (const Task& task : descendants_of(::getpid())) kill_with_group(task);
      }
      ::usleep(round > 5 ? 1000 : 200);
    }
  }

  int reports_;
  pid_t checker_;
  KeeperReport report_;
  bool op_ended_ = false;
};

std::mutex adoption_mutex;
int adoptions = 0, adopted_before = 0;

}  // namespace

void keep(int reports, pid_t checker, const std::function<void(pid_t)>& live) { Keeper(reports, checker).run(live); }

Adoption::Adoption() {
  const std::lock_guard guard(adoption_mutex);
  if (adoptions++ > 0) return;
  ::prctl(PR_GET_CHILD_SUBREAPER, &adopted_before);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

Adoption::~Adoption() {
  const std::lock_guard guard(adoption_mutex);
  if (--adoptions == 0) ::prctl(PR_SET_CHILD_SUBREAPER, adopted_before);
}

void end_adopted() {
  for (int round = 0; round < 1000; ++round) {
    bool any = false;
    for (const Task& task : all_tasks()) {
      // An op's process has left this session before the op runs; a keeper has not.
      if (task.parent != ::getpid() || task.session == ::getsid(0)) continue;
      any = true;
      kill_with_group(task);
      ::waitpid(task.process, nullptr, 0);
    }
    if (!any) return;
    ::usleep(1000);
  }
}

long tasks_of_system() {
  char text[256];
  read_text("/proc/loadavg", text);
  const char* const slash = ::strchr(text, '/');
  return slash ? ::atol(slash + 1) : 0;
}

}  // namespace gradus::testing::foreign
