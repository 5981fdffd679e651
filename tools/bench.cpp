#include "tools/bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <fstream>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/tensor/memory.h"
#include "tools/commands.h"

namespace gradus::tools {

void require_between(const std::string& flag, std::int64_t value, std::int64_t least, std::int64_t most) {
  if (value < least || value > most) fail<UsageError>("{} must be between {} and {}, not {}", flag, least, most, value);
}

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {median, values.front(), values.back()};
}

PeakMemory peak_memory(Device device) {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return {usage.ru_maxrss / 1024, memory_statistics(device).peak_bytes_in_use / (1 << 20)};
}

std::string runs_on(Device device) {
  return device == Device{} ? plural(cpu::thread_count(), "thread") : describe(device);
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

void add_bench(CLI::App& program) {
  CLI::App* bench = program.add_subcommand("bench", "Measure speed");
  bench->require_subcommand(1);
  add_bench_train(*bench);
  add_bench_op(*bench);
  add_bench_generate(*bench);
}

}  // namespace gradus::tools
