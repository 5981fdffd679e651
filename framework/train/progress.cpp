#include "framework/train/progress.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "framework/base/error.h"
#include "framework/base/printable.h"

namespace gradus::train {
namespace {

bool on_terminal() {
  const char* terminal = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) && terminal && std::strcmp(terminal, "dumb") != 0;
}

std::string duration(double seconds) {
  const auto total = static_cast<long>(seconds);
  if (total >= 3600) return fmt::format("{}h{:02}m", total / 3600, total % 3600 / 60);
  return fmt::format("{}m{:02}s", total / 60, total % 60);
}

}  // namespace

ProgressMode progress_mode_from_string(const std::string& name) {
  if (name == "auto") return ProgressMode::automatic;
  if (name == "bar") return ProgressMode::bar;
  if (name == "plain") return ProgressMode::plain;
  if (name == "lines") return ProgressMode::lines;
  if (name == "off") return ProgressMode::off;
  fail<UsageError>("unknown progress mode '{}': expected auto, bar, plain, lines or off", name);
}

std::string course_line(const StepReport& report) {
  return fmt::format("epoch {} iter {}: train loss {:.5f}. lr {:e}", report.epoch + 1, report.batch, report.loss, report.learning_rate);
}

Progress::Progress(ProgressMode mode)
    : mode_(mode == ProgressMode::automatic ? (on_terminal() ? ProgressMode::bar : ProgressMode::plain) : mode) {}

Progress::~Progress() { clear_bar(); }

void Progress::clear_bar() {
  if (bar_shown_) std::fputs("\r\033[K", stderr);
  bar_shown_ = false;
}

void Progress::message(const std::string& text) {
  if (mode_ == ProgressMode::off) return;
  clear_bar();
  std::fputs((printable(text, "\n") + "\n").c_str(), stderr);
}

void Progress::step(const StepReport& report) {
  smoothed_loss_ = report.step <= 1 || smoothed_loss_ == 0 ? report.loss : 0.9 * smoothed_loss_ + 0.1 * report.loss;
  const auto now = std::chrono::steady_clock::now();
  const double waited = std::chrono::duration<double>(now - last_).count();
  const bool epoch_or_run_ends = report.batch + 1 == report.batches_per_epoch || report.step == report.total_steps;
  if (mode_ == ProgressMode::lines || (mode_ == ProgressMode::plain && (epoch_or_run_ends || waited > 30))) {
    std::fputs((course_line(report) + "\n").c_str(), stderr);
    last_ = now;
  } else if (mode_ == ProgressMode::bar && (waited > 0.1 || report.step == report.total_steps)) {
    std::fputs(fmt::format("\r\033[K{:5.1f}%  epoch {} iter {}  loss {:.4f} (smoothed {:.4f})  lr {:.3e}  {:.0f} tokens/s  {} left",
                           100.0 * report.step / report.total_steps, report.epoch + 1, report.batch, report.loss, smoothed_loss_,
                           report.learning_rate, report.tokens_per_second, duration(report.seconds_left)).c_str(), stderr);
    std::fflush(stderr);
    bar_shown_ = true;
    last_ = now;
  }
}

void Progress::count(std::int64_t done, std::int64_t total, const std::string& what) {
  if (mode_ == ProgressMode::off) return;
  const auto now = std::chrono::steady_clock::now();
  const double waited = std::chrono::duration<double>(now - last_).count();
  const std::string text = fmt::format("{} of {} {}", done, total, what);
  if (mode_ == ProgressMode::bar) {
    if (waited < 0.1 && done != total) return;
    std::fputs(("\r\033[K" + text).c_str(), stderr);
    std::fflush(stderr);
    bar_shown_ = true;
  } else {
    if (mode_ == ProgressMode::plain && waited < 30 && done != total) return;
    std::fputs((text + "\n").c_str(), stderr);
  }
  last_ = now;
}

}  // namespace gradus::train
