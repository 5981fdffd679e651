// What people see of a run while it goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace gradus::train {

enum class ProgressMode {
  automatic,  ///< bar on a terminal, else plain
  bar,        ///< one line that is rewritten, at most ten times a second
  plain,      ///< a line after the first step, at the end of each epoch and of the run, and every 30 seconds
  lines,      ///< a line for every step
  off,
};

/// Parses auto, bar, plain, lines, off; throws UsageError.
ProgressMode progress_mode_from_string(const std::string& name);

struct StepReport {
  std::int64_t epoch, batch, batches_per_epoch;  ///< epoch and batch count from 0
  std::int64_t step, total_steps;
  double loss, learning_rate, tokens_per_second, seconds_left;
};

/// The assignment's line: `epoch 1 iter 22: train loss 3.44621. lr 5.999655e-03`.
std::string course_line(const StepReport& report);

/// Writes to standard error.
class Progress {
 public:
  explicit Progress(ProgressMode mode);
  ~Progress();
  void message(const std::string& text);
  void step(const StepReport& report);
  /// `120 of 500 questions answered`, as often as the mode allows.
  void count(std::int64_t done, std::int64_t total, const std::string& what);

 private:
  void clear_bar();
  ProgressMode mode_;
  bool bar_shown_ = false;
  double smoothed_loss_ = 0;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace gradus::train
