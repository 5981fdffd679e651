// Running the built `gradus` as a user's shell would, and looking at what it said.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "framework/io/files.h"
#include "tests/temporary_folder.h"

struct Outcome {
  int status = 0;  ///< exit code; 128 + n where signal n ended the program
  std::string out, err;
};

/// One run of the program in a folder; what it prints goes to files there until it is waited for.
class Program {
 public:
  /// `command`: the program's path and its arguments. `environment`: NAME=VALUE, added to this process's.
  Program(const TemporaryFolder& folder, std::vector<std::string> command, const std::vector<std::string>& environment = {})
      : out_(folder / ".out"), err_(folder / ".err") {
    std::vector<char*> pointers;
    for (std::string& word : command) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    process_ = ::fork();
    if (process_ < 0) throw std::runtime_error("no process can be started");
    if (process_ > 0) return;
    const auto redirect = [](const char* path, int flags, int to) {
      const int file = ::open(path, flags, 0600);
      if (file < 0 || ::dup2(file, to) < 0) ::_exit(126);
    };
    redirect("/dev/null", O_RDONLY, STDIN_FILENO);
    redirect(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    redirect(err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    if (::chdir(folder.path.c_str()) != 0) ::_exit(126);
    for (const std::string& setting : environment) ::putenv(const_cast<char*>(setting.c_str()));
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (process_ <= 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }

  void send(int signal) const { ::kill(process_, signal); }
  /// True where its first thread has the signal blocked.
  bool blocks(int signal) const {
    std::ifstream status("/proc/" + std::to_string(process_) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("SigBlk:")) return std::stoull(line.substr(8), nullptr, 16) >> (signal - 1) & 1;
    }
    return false;
  }
  bool has_ended() {
    if (process_ > 0 && ::waitpid(process_, &wait_status_, WNOHANG) == process_) process_ = 0;
    return process_ == 0;
  }
  Outcome wait() {
    if (process_ > 0) ::waitpid(process_, &wait_status_, 0);
    process_ = 0;
    const int status = WIFSIGNALED(wait_status_) ? 128 + WTERMSIG(wait_status_) : WEXITSTATUS(wait_status_);
    return {status, gradus::io::read_file(out_), gradus::io::read_file(err_)};
  }

 private:
  std::string out_, err_;
  pid_t process_ = 0;
  int wait_status_ = 0;
};

inline std::vector<std::string> gradus_command(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {GRADUS_PROGRAM};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

inline Outcome run_program(const TemporaryFolder& folder, const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {}) {
  return Program(folder, gradus_command(arguments), environment).wait();
}

/// A line for the shell, in which `gradus` is the built program.
inline Outcome run_shell(const TemporaryFolder& folder, const std::string& line, std::vector<std::string> environment = {}) {
  const std::string path = std::filesystem::path(GRADUS_PROGRAM).parent_path();
  environment.push_back("PATH=" + path + ":/usr/bin:/bin");
  return Program(folder, {"/bin/sh", "-c", line}, environment).wait();
}

/// The words of a command line without quoting; `''` is the empty word.
inline std::vector<std::string> words(const std::string& line) {
  std::vector<std::string> all;
  for (std::size_t at = 0; (at = line.find_first_not_of(' ', at)) != std::string::npos;) {
    const std::size_t end = std::min(line.find(' ', at), line.size());
    const std::string word = line.substr(at, end - at);
    all.push_back(word == "''" ? "" : word);
    at = end;
  }
  return all;
}
