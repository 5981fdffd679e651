// Runs on one path: one of them goes on, the others say which; what a run leaves that is killed, the next one takes over.
#include "framework/io/run_lock.h"

#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <csignal>
#include <cstddef>
#include <optional>
#include <thread>

#include "framework/base/error.h"
#include "framework/io/run_owner.h"
#include "tests/messages.h"
#include "tests/program.h"

using namespace gradus;
using Names = std::vector<std::string>;

namespace {

std::string refusal(const std::string& path) {
  return message_of<OutputError>([&] { const io::RunLock lock({path}); });
}

/// In a process of its own: exit code 0 where `action` returned true, 1 where it did not, 2 where it threw.
template <class Action>
pid_t start(Action&& action) {
  const pid_t process = ::fork();
  if (process != 0) return process;
  try {
    ::_exit(action() ? 0 : 1);
  } catch (...) {
    ::_exit(2);
  }
}

int end_of(pid_t process) {
  int status = 0;
  ::waitpid(process, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// From here on flock(2) fails in this process, as on a file system without locks.
void take_flock_away() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_flock, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{std::size(program), program};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) ::_exit(77);
}

/// The lock of a process that was killed while it held it.
std::string abandoned_lock(const TemporaryFolder& folder, const std::string& name) {
  CHECK(end_of(start([&] {
          const io::RunLock lock({folder / name});
          ::raise(SIGKILL);
          return true;
        })) == 128 + SIGKILL);
  return io::read_file(folder / (name + ".lock"));
}

void edit(const TemporaryFolder& folder, std::string text, const std::string& field, const std::string& value) {
  const std::size_t at = text.find("\n" + field + ": ");
  REQUIRE(at != std::string::npos);
  const std::size_t begin = at + field.size() + 3;
  folder.write("m.lock", text.replace(begin, text.find('\n', begin) - begin, value));
}

/// So many processes want the same two locks at the same moment, and keep it until all have tried: how many got both.
int winners_of(const TemporaryFolder& folder, int contenders, bool flock_works) {
  int begin[2], tried[2];
  REQUIRE((::pipe(begin) == 0 && ::pipe(tried) == 0));
  std::vector<pid_t> processes;
  for (int i = 0; i < contenders; ++i) {
    processes.push_back(start([&] {
      if (!flock_works) take_flock_away();
      char byte = 0;
      ::close(begin[1]);
      (void)!::read(begin[0], &byte, 1);  // until the other end is closed
      std::optional<io::RunLock> lock;
      try {
        lock.emplace(i % 2 == 0 ? Names{folder / "m", folder / "n"} : Names{folder / "n", folder / "m"});
      } catch (const OutputError&) {
      }
      (void)!::write(tried[1], &byte, 1);
      ::close(tried[1]);
      while (::read(tried[0], &byte, 1) > 0) continue;
      return lock.has_value();
    }));
  }
  ::close(begin[0]), ::close(begin[1]), ::close(tried[0]), ::close(tried[1]);
  int winners = 0;
  for (const pid_t process : processes) {
    const int status = end_of(process);
    CHECK(status < 2);
    winners += status == 0;
  }
  return winners;
}

const std::string pretrain =
    "pretrain vanilla corpus.txt --layers 2 --heads 2 --width 32 --block_size 64 --batch_size 4 --edition 2023 "
    "--max_epochs 1 --progress off ";
const std::string endless = pretrain + "--max_epochs 100000 --checkpoint_every 3 ";

const TemporaryFolder& world() {
  static TemporaryFolder folder;
  static const Outcome made = run_program(folder, words("world . --train_people 12 --held_out_people 12 --places 4"));
  REQUIRE(made.status == 0);
  return folder;
}

bool exists(const std::string& name) { return std::filesystem::exists(world() / name); }

Names locks_left() {
  Names names = world().names();
  std::erase_if(names, [](const std::string& name) { return name.find(".lock") == std::string::npos; });
  return names;
}

/// Waits for the first step of an endless run, which logs to m.jsonl.
void await_steps(Program& program) {
  while (!program.has_ended() && !(exists("m.jsonl") && !io::read_file(world() / "m.jsonl").empty()))
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  REQUIRE_FALSE(program.has_ended());
}

}  // namespace

// ---- the lock ----

TEST_CASE("a path is held once, whatever it is called, and free again afterwards") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "real");
  std::filesystem::create_directory_symlink("real", folder / "linked");
  std::filesystem::create_symlink("real/m", folder / "alias");      // leads to nothing yet
  std::filesystem::create_symlink("alias", folder / "alias of it");
  {
    const io::RunLock lock({folder / "real/m", "", folder / "real/../real/m"});
    CHECK(lock.taken_over().empty());
    struct stat info {};
    REQUIRE(::stat((folder / "real/m.lock").c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    for (const char* name : {"real/m", "./real/m", "linked/m", "alias", "alias of it", "linked/../real/m"}) {
      CAPTURE(name);
      CHECK(has(refusal(folder / name), std::string(name) + ": another run writes it: pid " + std::to_string(::getpid()) + " on "));
    }
    const io::RunLock other({folder / "real/n"});
  }
  const io::RunLock again({folder / "alias"});
  CHECK(Names{"m.lock"} == [&] {
    Names names;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "real")) names.push_back(entry.path().filename());
    return names;
  }());
}

TEST_CASE("of several paths all are held or none") {
  const TemporaryFolder folder;
  {
    const io::RunLock first({folder / "b"});
    CHECK(has(message_of<OutputError>([&] { const io::RunLock lock({folder / "a", folder / "b", folder / "c"}); }),
              "b: another run writes it"));
    CHECK(folder.names() == Names{"b.lock"});
  }
  CHECK(folder.names().empty());
}

TEST_CASE("a lock ends with its process, however that ends") {
  const TemporaryFolder folder;
  abandoned_lock(folder, "m");
  CHECK(folder.names() == Names{"m.lock"});
  {
    const io::RunLock lock({folder / "m"});
    REQUIRE(lock.taken_over().size() == 1);
    CHECK(has(lock.taken_over()[0], "m: the run that held its lock is gone without releasing it"));
    CHECK(has(io::read_file(folder / "m.lock"), "pid: " + std::to_string(::getpid()) + "\n"));
  }
  CHECK(folder.names().empty());
  // Where no destructor runs, the signal handler's way.
  CHECK(end_of(start([&] {
          const io::RunLock lock({folder / "m", folder / "n"});
          io::RunLock::release_all();
          ::_exit(9);
          return true;
        })) == 9);
  CHECK(folder.names().empty());
}

TEST_CASE("a lock that was replaced by hand is not removed") {
  const TemporaryFolder folder;
  {
    const io::RunLock lock({folder / "m"});
    std::filesystem::remove(folder / "m.lock");
    const io::RunLock other({folder / "m"});
    CHECK(folder.names() == Names{"m.lock"});
    io::RunLock::release_all();
    CHECK(folder.names().empty());
    folder.write("m.lock", "of another");
  }
  CHECK(folder.names() == Names{"m.lock"});
}

TEST_CASE("the lock of another host is believed, and the sentence says how to remove it") {
  const TemporaryFolder folder;
  edit(folder, abandoned_lock(folder, "m"), "host", "elsewhere");
  const std::string said = refusal(folder / "m");
  CHECK(has(said, "m: a run on another host writes it, or has not released it: pid "));
  CHECK(has(said, " on elsewhere since "));
  CHECK(said.ends_with("if it is gone, remove " + folder.path.string() + "/m.lock"));
  CHECK(has(io::read_file(folder / "m.lock"), "elsewhere"));
}

TEST_CASE("what is no lock is not taken for one, and stays") {
  const TemporaryFolder folder;
  const std::string lock = folder / "m.lock";
  const std::string good = abandoned_lock(folder, "m");
  for (const std::string& text : {std::string("mine\n"), std::string("{}"), good.substr(0, 40), std::string("gradus run\n"),
                                  std::string("gradus run\npid: 99999999999999999999\nhost: a\n"), std::string(100000, '['),
                                  good + std::string("\0x", 2)}) {
    folder.write("m.lock", text);
    CHECK(has(refusal(folder / "m"), "m.lock is not the lock of a run of this program; if none writes "));
    CHECK(io::read_file(lock) == text);
  }
  // Nothing, and what a power failure leaves of a short file.
  for (const std::string& text : {std::string(), std::string(200, '\0')}) {
    folder.write("m.lock", text);
    const io::RunLock held({folder / "m"});
    CHECK(held.taken_over().empty());
  }
  std::filesystem::create_directory(lock);
  CHECK(has(refusal(folder / "m"), "m.lock is a folder and no lock: remove it"));
  std::filesystem::remove(lock);
  folder.write("precious", "1");
  std::filesystem::create_symlink("precious", lock);
  CHECK(has(refusal(folder / "m"), "m.lock is a symbolic link and no lock: remove it"));
  CHECK(io::read_file(folder / "precious") == "1");
  std::filesystem::remove(lock);
  REQUIRE(::mkfifo(lock.c_str(), 0600) == 0);
  CHECK(has(refusal(folder / "m"), "m.lock is not a regular file and no lock: remove it"));
}

TEST_CASE("a lock that cannot be written is said, and leaves nothing") {
  const TemporaryFolder folder;
  CHECK(has(refusal(folder / std::string(252, 'x')), "cannot be written: File name too long"));
  CHECK(has(refusal(folder / "nowhere/m"), "cannot be written: No such file or directory"));
  CHECK(end_of(start([&] {  // as on a full disk
          std::signal(SIGXFSZ, SIG_IGN);
          const rlimit nothing{0, 0};
          ::setrlimit(RLIMIT_FSIZE, &nothing);
          return has(refusal(folder / "m"), "m.lock cannot be written: File too large");
        })) == 0);
  if (::geteuid() != 0) {
    std::filesystem::permissions(folder.path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
    CHECK(has(refusal(folder / "m"), "m.lock cannot be written: Permission denied"));
    std::filesystem::permissions(folder.path, std::filesystem::perms::owner_all);
  }
  CHECK(folder.names().empty());
}

TEST_CASE("control characters of a lock do not reach the terminal") {
  const TemporaryFolder folder;
  std::string text = abandoned_lock(folder, "m");
  edit(folder, text, "host", "else\x1b[2Jwhere");
  edit(folder, io::read_file(folder / "m.lock"), "command", "\x1b]0;title\x07");
  const std::string said = refusal(folder / "m");
  CHECK(has(said, " on else\\u001b[2Jwhere since "));
  CHECK(std::none_of(said.begin(), said.end(), [](unsigned char c) { return c < ' '; }));
}

TEST_CASE("of runs that begin at the same moment exactly one gets the lock") {
  const TemporaryFolder folder;
  for (int round = 0; round < 60; ++round) {
    CHECK(winners_of(folder, 4, true) == 1);
    CHECK(folder.names().empty());
    if (round % 2 == 0) abandoned_lock(folder, "m");
  }
}

TEST_CASE("who comes while a lock is released gets it alone or not at all") {
  const TemporaryFolder folder;
  std::vector<pid_t> processes;
  for (int i = 0; i < 4; ++i) {
    processes.push_back(start([&] {
      for (int round = 0; round < 2000; ++round) {
        try {
          const io::RunLock lock({folder / "m"});
          const int inside = ::open((folder / "inside").c_str(), O_CREAT | O_EXCL | O_CLOEXEC, 0600);
          if (inside < 0) return false;
          ::close(inside);
          ::unlink((folder / "inside").c_str());
        } catch (const OutputError&) {
        }
      }
      return true;
    }));
  }
  for (const pid_t process : processes) CHECK(end_of(process) == 0);
  CHECK(folder.names().empty());
}

TEST_CASE("also where the file system has no locks") {
  if (const int status = end_of(start([] { return take_flock_away(), true; })); status != 0) {
    MESSAGE("skipped: flock(2) cannot be taken away here, status ", status);
    return;
  }
  const TemporaryFolder folder;
  const std::string dead = abandoned_lock(folder, "m");
  for (int round = 0; round < 30; ++round) {
    folder.write("m.lock", dead);
    CHECK(winners_of(folder, 4, false) == 1);
    CHECK(winners_of(folder, 4, false) == 1);
    CHECK(folder.names().empty());
  }
  // Alive; its process id used again by another; dead.
  const io::RunOwner self = io::RunOwner::this_process();
  const auto attempt = [&] {
    return end_of(start([&] {
      take_flock_away();
      const io::RunLock lock({folder / "m"});
      return !lock.taken_over().empty();
    }));
  };
  folder.write("m.lock", self.to_text());
  CHECK(attempt() == 2);
  io::RunOwner other = self;
  other.process_start = "1";
  folder.write("m.lock", other.to_text());
  CHECK(attempt() == 0);
  other = self;
  other.boot = "another";
  folder.write("m.lock", other.to_text());
  CHECK(attempt() == 0);
  other = self;
  other.host = "elsewhere";
  folder.write("m.lock", other.to_text());
  CHECK(attempt() == 2);
  folder.write("m.lock", dead);
  folder.write("m.lock.taken", "");
  CHECK(attempt() == 2);
  CHECK(folder.names() == Names{"m.lock", "m.lock.taken"});
}

// ---- the program ----

TEST_CASE("two runs on one path: one trains, the other says which") {
  const std::string line = pretrain + "--max_epochs 6 --writing_params_path ";
  REQUIRE(run_program(world(), words(line + "alone")).status == 0);
  int meetings = 0;
  for (int round = 0; round < 4; ++round) {
    std::filesystem::remove(world() / "both");
    const TemporaryFolder log;  // what the second one prints
    Program first(world(), gradus_command(words(line + "both")));
    Program second(log, {"/bin/sh", "-c", "cd " + world().path.string() + " && exec " GRADUS_PROGRAM " " + line + "./both"});
    const Outcome one = first.wait(), two = second.wait();
    const Outcome& lost = one.status == 0 ? two : one;
    if (!has(one.err + two.err, "another run writes it")) continue;  // the machine was busy: one came after the other
    ++meetings;
    CHECK(one.status + two.status == 1);
    CHECK_MESSAGE(has(lost.err, "both: another run writes it: pid "), lost.err);
    CHECK(has(lost.err, "(" GRADUS_PROGRAM " pretrain vanilla corpus.txt "));
    CHECK(std::count(lost.err.begin(), lost.err.end(), '\n') == 1);
    CHECK(io::read_file(world() / "both") == io::read_file(world() / "alone"));
    CHECK(locks_left().empty());
  }
  CHECK(meetings > 0);
}

TEST_CASE("runs that share the checkpoint or the metrics alone are runs on one path too") {
  const std::string question = "finetune vanilla corpus.txt --finetune_corpus_path train.tsv --layers 1 --heads 2 --width 16 --max_epochs 1 ";
  const std::string text = "pretrain-text corpus.txt --layers 1 --heads 2 --width 16 --max_steps 2 ";
  std::signal(SIGINT, SIG_DFL);  // in the background it is ignored
  Program running(world(), gradus_command(words(endless + "--writing_params_path m --metrics m.jsonl")));
  await_steps(running);
  const std::pair<std::string, std::string> table[] = {
      {pretrain + "--writing_params_path n --metrics m.jsonl", "m.jsonl"},
      {pretrain + "--writing_params_path n --checkpoint m.checkpoint --force", "m.checkpoint"},
      {pretrain + "--writing_params_path n --checkpoint m", "m"},
      {pretrain + "--writing_params_path m.jsonl", "m.jsonl"},
      {endless + "--writing_params_path m --metrics n.jsonl --resume", "m"},
      {question + "--writing_params_path n --metrics ./m.jsonl", "./m.jsonl"},
      {text + "--writing_params_path n --checkpoint ./m.checkpoint", "./m.checkpoint"},
  };
  const TemporaryFolder log;
  for (const auto& [line, path] : table) {
    CAPTURE(line);
    const Outcome refused = Program(log, {"/bin/sh", "-c", "cd " + world().path.string() + " && exec " GRADUS_PROGRAM " " + line}).wait();
    CHECK(refused.status == 1);
    CHECK_MESSAGE(has(refused.err, "gradus: " + path + ": another run writes it: pid "), refused.err);
    CHECK_FALSE(exists("n"));
  }
  CHECK(locks_left() == Names{"m.checkpoint.lock", "m.jsonl.lock", "m.lock"});
  running.send(SIGINT);
  CHECK(running.wait().status == 130);
  CHECK(locks_left().empty());
}

TEST_CASE("no lock is left by an end, an error or Ctrl-C; after SIGKILL the next run takes it over") {
  const std::string line = endless + "--writing_params_path m --metrics m.jsonl ";
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);  // under nohup they are ignored
  for (const char* name : {"m", "m.checkpoint", "m.jsonl"}) std::filesystem::remove(world() / name);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    std::filesystem::remove(world() / "m.jsonl");
    Program running(world(), gradus_command(words(line + "--resume")));
    await_steps(running);
    CHECK(locks_left().size() == 3);
    running.send(signal);
    CHECK(running.wait().status == 128 + signal);
    CHECK(locks_left().empty());
  }
  {
    std::filesystem::remove(world() / "m.jsonl");
    Program running(world(), gradus_command(words(line + "--resume")));
    await_steps(running);
    for (const int milliseconds : {0, 1, 150}) {  // once more to leave at once
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
      if (!running.has_ended()) running.send(SIGINT);
    }
    CHECK(running.wait().status == 130);
    CHECK(locks_left().empty());
  }
  CHECK(run_program(world(), words(line)).status == 2);  // there is a checkpoint
  CHECK(run_program(world(), words(line + "--resume --seed 5")).status == 2);
  CHECK(run_program(world(), words(line + "--force --pretrain_lr 900")).status != 0);
  CHECK(locks_left().empty());
  std::filesystem::remove(world() / "m.jsonl");
  {
    Program running(world(), gradus_command(words(line + "--force")));
    await_steps(running);
    running.send(SIGKILL);
    running.wait();
  }
  CHECK(locks_left().size() == 3);
  const Outcome next = run_program(world(), words(line + "--force --max_steps 3"));
  CHECK(next.status == 0);
  CHECK(has(next.err, "note: m: the run that held its lock is gone without releasing it, the lock is taken over: pid "));
  CHECK(locks_left().empty());
}
