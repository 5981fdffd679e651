// Runs kernels with planted defects, each in a process of its own, and looks whether each is heard of as planted.h
// says, and whether the right kernels beside them are not.
//   planted_defects plain|address|thread     all that this build is asked; which build it is, the caller knows
//   planted_defects KERNEL SCHEDULE          one kernel, in this process; status 0: nothing was noticed
//   planted_defects table                    the table of docs/cuda-emulation.md
#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <string_view>

#include "tests/planted_defects/planted.h"

/// ThreadSanitizer waits a second at the end of a program whose threads may still race; fibers do not.
extern "C" const char* __tsan_default_options() { return "atexit_sleep_ms=0"; }

namespace {

using planted::Case;
using planted::Heard;
using Column = const char* Heard::*;

const std::map<std::string_view, Column> builds = {
    {"plain", &Heard::plain}, {"address", &Heard::address}, {"thread", &Heard::thread}};

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const auto& group : {planted::memory_cases(), planted::thread_cases(), planted::launch_cases()}) {
    all.insert(all.end(), group.begin(), group.end());
  }
  return all;
}

/// In this process. What is noticed goes to standard output, a sanitizer's report to standard error.
int run_one(const Case& planted_case, unsigned long long schedule) {
  const gradus::cuda::emulation::SettingsScope scope({.schedule = schedule});
  try {
    if (planted_case.run()) return 0;
    std::puts("wrong result");
    return 1;
  } catch (const std::exception& error) {
    std::puts(error.what());
    return 1;
  }
}

struct Outcome {
  bool noticed;
  std::string said;
};

Outcome run_apart(const std::string& program, const Case& planted_case, int schedule) {
  const std::string command = fmt::format("'{}' {} {} 2>&1", program, planted_case.kernel, schedule);
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot start " + command);
  Outcome outcome;
  std::array<char, 4096> part;
  while (const std::size_t read = fread(part.data(), 1, part.size(), pipe)) outcome.said.append(part.data(), read);
  outcome.noticed = pclose(pipe) != 0;
  return outcome;
}

/// What is wrong with the outcome; empty: nothing.
std::string complaint(const Case& planted_case, const char* expected, const Outcome& outcome) {
  if (!planted_case.what) return outcome.noticed || !outcome.said.empty() ? "is right, and was accused" : "";
  if (!outcome.noticed) return "was not noticed";
  if (outcome.said.find(expected) == std::string::npos) return fmt::format("was not called \"{}\"", expected);
  const bool names_place =
      std::string_view(expected) == "wrong result" || outcome.said.find(".cu:") != std::string::npos;
  return names_place ? "" : "was noticed, without the place";
}

int run_all(const std::string& program, std::string_view build) {
  const Column column = builds.at(build);
  const int schedules = build == "plain" ? 6 : 1;
  int asked = 0, failed = 0;
  for (const Case& planted_case : all_cases()) {
    if (planted_case.what && !(planted_case.heard.*column)) continue;
    ++asked;
    for (int schedule = 0; schedule < schedules; ++schedule) {
      const Outcome outcome = run_apart(program, planted_case, schedule);
      const std::string wrong = complaint(planted_case, planted_case.heard.*column, outcome);
      if (wrong.empty()) continue;
      ++failed;
      fmt::print("{} {}, schedule {}:\n{}\n", planted_case.kernel, wrong, schedule, outcome.said);
    }
  }
  fmt::print("{} kernels, {} not as planned\n", asked, failed);
  return failed == 0 && asked > 0 ? 0 : 1;
}

void print_table() {
  fmt::print("| The kernel or its caller ... | Plain, six schedules | ASan + UBSan | TSan |\n|---|---|---|---|\n");
  const auto cell = [](const char* heard) {
    if (!heard) return std::string("-");
    const std::string_view text = heard;
    const bool sanitizer = text == "data race" || text.starts_with("heap-") || text.starts_with("global-") ||
                           text == "out of bounds" || text == "misaligned" || text == "signed integer overflow";
    return std::string(text == "wrong result" || sanitizer ? text : "sentence");
  };
  for (const Case& planted_case : all_cases()) {
    if (!planted_case.what) continue;
    const Heard& heard = planted_case.heard;
    fmt::print("| {} | {} | {} | {} |\n", planted_case.what, cell(heard.plain), cell(heard.address),
               cell(heard.thread));
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::string_view first = count > 1 ? arguments[1] : "";
  if (first == "table" && count == 2) {
    print_table();
    return 0;
  }
  if (builds.count(first) && count == 2) return run_all(arguments[0], first);
  for (const Case& planted_case : all_cases()) {
    if (first == planted_case.kernel && count == 3)
      return run_one(planted_case, std::strtoull(arguments[2], nullptr, 10));
  }
  fmt::print(stderr, "planted_defects: expected plain, address, thread, table, or a kernel and a schedule\n");
  return 2;
}
