// What people see of a run while it goes on.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "framework/train/terminal.h"

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
  double loss, smoothed_loss, learning_rate, tokens_per_second, seconds_left;
};

/// The assignment's line: `epoch 1 iter 22: train loss 3.44621. lr 5.999655e-03`.
std::string course_line(const StepReport& report);

/// ` 45.3%  epoch 2  iter  3  loss 3.4462  smoothed 3.4500  lr 6.0e-03  1h02m left  12345 tokens/s`, as much of it as fits.
std::string bar_line(const StepReport& report, std::int64_t columns);

/// Writes to standard error. The bar is one line that never reaches the terminal's last column, whatever its width is at
/// the time; it is not drawn while the process is in the background.
class Progress {
 public:
  explicit Progress(ProgressMode mode);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Lines of their own; where a bar is drawn they are broken between words. Nothing where progress is off.
  void message(const std::string& text);
  void step(const StepReport& report);
  /// `120 of 500 questions answered`, as often as the mode allows.
  void count(std::int64_t done, std::int64_t total, const std::string& noun, const std::string& what_is_done);
  /// What goes on, in the place of the bar.
  void status(const std::string& text);

  bool draws_bar() const { return mode_ == ProgressMode::bar; }
  /// Columns for a line: one less than the terminal's where a bar is drawn, else 79.
  std::int64_t width() const;

 private:
  double seconds_since_last() const;
  void draw(const std::string& line);
  void clear_bar();
  void forget_bar_in_background();
  std::string to_beginning_of_bar() const;

  ProgressMode mode_;
  std::int64_t columns_shown_ = 0;  ///< of the bar; 0: none is there
  std::chrono::steady_clock::time_point last_;
};

/// One message beside a run's own, in lines as its: also where progress is off.
void announce(const std::string& text, ProgressMode mode);

}  // namespace gradus::train
