// What the measurements of `gradus bench` share.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "framework/tensor/device.h"
#include "tools/options.h"

namespace gradus::tools {

void add_bench_train(CLI::App& bench);
void add_bench_op(CLI::App& bench);
void add_bench_generate(CLI::App& bench);

/// Throws UsageError naming flag, bounds and value.
void require_between(const std::string& flag, std::int64_t value, std::int64_t least, std::int64_t most);

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Of several runs of one thing.
struct Spread {
  double median = 0, least = 0, most = 0;
};
/// Of at least one value.
Spread spread_of(std::vector<double> values);

/// The most memory used so far, in MiB: by the process, and by the tensors on a device.
struct PeakMemory {
  std::int64_t process = 0, tensors = 0;
};
PeakMemory peak_memory(Device device);

/// `2 threads`, or the device's name.
std::string runs_on(Device device);

/// `Intel(R) Xeon(R) Processor`, as the system calls it; "unknown" where it does not say.
std::string processor_name();

}  // namespace gradus::tools
