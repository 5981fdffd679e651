#include "framework/train/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/base/printable.h"

namespace gradus::train {
namespace {

bool on_terminal() {
  const char* terminal = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) && terminal && std::strcmp(terminal, "dumb") != 0;
}

std::string duration(double seconds) {
  const auto total = static_cast<long>(std::min(seconds, 1e15));
  if (total >= 3600) return fmt::format("{}h{:02}m", total / 3600, total % 3600 / 60);
  return fmt::format("{}m{:02}s", total / 60, total % 60);
}

/// Five digits: the same width from step to step.
std::string loss_text(double loss) {
  if (!(loss < 999.995)) return fmt::format("{:.0e}", loss);
  return fmt::format("{:.{}f}", loss, loss < 9.99995 ? 4 : loss < 99.9995 ? 3 : 2);
}

std::size_t digits_of(std::int64_t number) { return std::to_string(number).size(); }

void write(const std::string& text) {
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
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

std::string bar_line(const StepReport& report, std::int64_t columns) {
  const std::int64_t epochs = (report.total_steps + report.batches_per_epoch - 1) / report.batches_per_epoch;
  return fitted({{fmt::format("{:5.1f}%", 100.0 * double(report.step) / double(report.total_steps)), 7},
                 {fmt::format("epoch {:{}}", report.epoch + 1, digits_of(epochs)), 3},
                 {fmt::format("iter {:{}}", report.batch, digits_of(report.batches_per_epoch - 1)), 2},
                 {"loss " + loss_text(report.loss), 6},
                 {"smoothed " + loss_text(report.smoothed_loss), 4},
                 {fmt::format("lr {:.1e}", report.learning_rate), 1},
                 {duration(report.seconds_left) + " left", 5},
                 {fmt::format("{:.0f} tokens/s", report.tokens_per_second), 0}},
                columns);
}

Progress::Progress(ProgressMode mode)
    : mode_(mode == ProgressMode::automatic ? (on_terminal() ? ProgressMode::bar : ProgressMode::plain) : mode) {}

Progress::~Progress() { clear_bar(); }

std::int64_t Progress::width() const { return draws_bar() ? terminal_width() - 1 : 79; }

double Progress::seconds_since_last() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - last_).count();
}

std::string Progress::to_beginning_of_bar() const {
  const std::int64_t width = terminal_width();
  if (columns_shown_ <= width || !terminal_reflows()) return "\r\033[K";
  // The terminal has become narrower and moved the end of the bar into rows below.
  return fmt::format("\033[{}A\r\033[J", (columns_shown_ - 1) / width);
}

void Progress::forget_bar_in_background() {
  if (columns_shown_ > 0 && !in_foreground()) columns_shown_ = 0;
}

void Progress::clear_bar() {
  forget_bar_in_background();
  if (columns_shown_ > 0) write(to_beginning_of_bar());
  columns_shown_ = 0;
}

void Progress::draw(const std::string& line) {
  last_ = std::chrono::steady_clock::now();
  if (!in_foreground()) {
    columns_shown_ = 0;
    return;
  }
  write((columns_shown_ > 0 ? to_beginning_of_bar() : "\r\033[K") + line);
  columns_shown_ = columns_of(line);
}

void Progress::message(const std::string& text) {
  if (mode_ == ProgressMode::off) return;
  clear_bar();
  const std::string shown = printable(text, "\n");
  write((draws_bar() ? wrapped(shown, width()) : shown) + "\n");
}

void Progress::step(const StepReport& report) {
  const double waited = seconds_since_last();
  const bool run_ends = report.step == report.total_steps;
  const bool epoch_or_run_ends = report.batch + 1 == report.batches_per_epoch || run_ends;
  if (mode_ == ProgressMode::lines || (mode_ == ProgressMode::plain && (epoch_or_run_ends || waited > 30))) {
    write(course_line(report) + "\n");
    last_ = std::chrono::steady_clock::now();
  } else if (draws_bar() && (waited > 0.1 || run_ends)) {
    draw(bar_line(report, width()));
  }
}

void Progress::count(std::int64_t done, std::int64_t total, const std::string& noun, const std::string& what_is_done) {
  const std::string text = fmt::format("{} of {} {}", in_prose(done), plural(total, noun), what_is_done);
  const double waited = seconds_since_last();
  if (draws_bar()) {
    if (waited > 0.1 || done == total) draw(fitted({{text, 0}}, width()));
  } else if (mode_ == ProgressMode::lines || (mode_ == ProgressMode::plain && (waited > 30 || done == total))) {
    write(text + "\n");
    last_ = std::chrono::steady_clock::now();
  }
}

void Progress::status(const std::string& text) {
  if (draws_bar()) draw(fitted({{printable(text), 0}}, width()));
}

void announce(const std::string& text, ProgressMode mode) {
  Progress(mode == ProgressMode::off ? ProgressMode::plain : mode).message(text);
}

}  // namespace gradus::train
