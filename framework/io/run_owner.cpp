#include "framework/io/run_owner.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <fstream>
#include <map>
#include <sstream>

#include "framework/base/error.h"
#include "framework/base/printable.h"

namespace gradus::io {
namespace {

constexpr std::string_view title = "gradus run\n";
constexpr std::size_t longest_command = 300;

/// One printable line, whoever wrote it.
std::string one_line(std::string text) {
  const bool is_long = text.size() > longest_command;
  if (is_long) text.resize(longest_command);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return printable(text) + (is_long ? "..." : "");
}

std::string whole(const std::string& path) {
  std::ostringstream text;  // which takes an error of reading for the end
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// Field 22 of /proc/PID/stat, counted behind the name, which may hold anything; empty where there is no such process.
std::string start_of(int process) {
  const std::string text = whole(fmt::format("/proc/{}/stat", process));
  std::istringstream fields(text.substr(std::min(text.rfind(')'), text.size() - 1) + 1));
  std::string field;
  for (int number = 3; number <= 22; ++number) fields >> field;
  return fields ? field : "";
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? one_line(name) : "";
}

std::string command_line() {
  std::string words = whole("/proc/self/cmdline");
  std::replace(words.begin(), words.end(), '\0', ' ');
  return one_line(words);
}

std::string now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm local{};
  char text[32] = {};
  if (::localtime_r(&seconds, &local)) std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local);
  return text;
}

}  // namespace

RunOwner RunOwner::this_process() {
  return {.process = ::getpid(),
          .host = host_name(),
          .boot = one_line(whole("/proc/sys/kernel/random/boot_id")),
          .process_start = start_of(::getpid()),
          .since = now(),
          .command = command_line()};
}

std::string RunOwner::to_text() const {
  return fmt::format("{}pid: {}\nhost: {}\nboot: {}\nstart: {}\nsince: {}\ncommand: {}\n", title, process, host, boot,
                     process_start, since, command);
}

std::optional<RunOwner> RunOwner::from_text(const std::string& text) {
  if (!text.starts_with(title) || !text.ends_with("\n")) return {};
  std::map<std::string, std::string> values;
  std::istringstream lines(text.substr(title.size()));
  for (std::string line; std::getline(lines, line);) {
    if (const auto colon = line.find(": "); colon != std::string::npos)
      values[line.substr(0, colon)] = one_line(line.substr(colon + 2));
  }
  RunOwner owner{.host = values["host"],
                 .boot = values["boot"],
                 .process_start = values["start"],
                 .since = values["since"],
                 .command = values["command"]};
  const std::string& process = values["pid"];
  const auto [end, error] = std::from_chars(process.data(), process.data() + process.size(), owner.process);
  const bool is_number = error == std::errc() && end == process.data() + process.size() && owner.process > 0;
  if (!is_number || owner.host.empty()) return {};
  return owner;
}

bool RunOwner::is_on_this_host() const { return host == host_name(); }

bool RunOwner::is_alive() const {
  if (boot != one_line(whole("/proc/sys/kernel/random/boot_id"))) return false;
  if (::kill(process, 0) != 0 && errno == ESRCH) return false;
  const std::string start = start_of(process);  // hidden from other users on some systems
  return process_start.empty() || start.empty() || process_start == start;
}

std::string RunOwner::description() const {
  return fmt::format("pid {} on {} since {} ({})", process, host, since, command);
}

}  // namespace gradus::io
