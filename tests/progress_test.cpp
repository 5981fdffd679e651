// What people see of a run: one line that fits, whatever the terminal's width; the course of the loss.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <utility>

#include "framework/base/bars.h"
#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/train/evaluation.h"
#include "framework/train/loss_curve.h"
#include "framework/train/progress.h"
#include "tests/messages.h"
#include "tests/screen.h"

using namespace gradus;
using namespace gradus::train;

namespace {

using namespace std::chrono_literals;

StepReport report_of(std::int64_t step) {
  return {.epoch = (step - 1) / 120,
          .batch = (step - 1) % 120,
          .batches_per_epoch = 120,
          .step = step,
          .total_steps = 78000,
          .loss = 3.44621,
          .smoothed_loss = 3.45,
          .learning_rate = 5.999655e-3,
          .tokens_per_second = 12345.6,
          .seconds_left = 3725};
}

/// Sets a variable of the environment, or unsets it, for a while.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name), had_(std::getenv(name) != nullptr) {
    if (had_) before_ = std::getenv(name);
    set(value);
  }
  ~Environment() { set(had_ ? before_.c_str() : nullptr); }

 private:
  void set(const char* value) { value ? ::setenv(name_, value, 1) : ::unsetenv(name_); }
  const char* name_;
  bool had_;
  std::string before_;
};

/// A terminal that standard error is for a while, and what is on its screen.
class Terminal {
 public:
  explicit Terminal(unsigned short columns) : screen(columns) {
    winsize size{24, columns, 0, 0};
    REQUIRE(::openpty(&master_, &slave_, nullptr, nullptr, &size) == 0);
    ::fcntl(master_, F_SETFL, O_NONBLOCK);
    std::fflush(stderr);
    before_ = ::dup(STDERR_FILENO);
    ::dup2(slave_, STDERR_FILENO);
  }
  ~Terminal() {
    ::dup2(before_, STDERR_FILENO);
    for (const int file : {before_, slave_, master_}) ::close(file);
  }
  void resize(unsigned short columns) {
    look();
    const winsize size{24, columns, 0, 0};
    ::ioctl(master_, TIOCSWINSZ, &size);
    screen.resize(columns);
  }
  /// Takes in what was written.
  Screen& look() {
    char bytes[4096];
    for (ssize_t count; (count = ::read(master_, bytes, sizeof bytes)) > 0;) screen.write(std::string(bytes, count));
    return screen;
  }

  Screen screen;

 private:
  int master_ = -1, slave_ = -1, before_ = -1;
};

}  // namespace

TEST_CASE("counts in prose") {
  CHECK(plural(1, "epoch") == "1 epoch");
  CHECK(plural(0, "epoch") == "0 epochs");
  CHECK(plural(2, "batch", "batches") == "2 batches");
  CHECK(plural(1, "batch", "batches") == "1 batch");
  CHECK(plural(9999, "step") == "9999 steps");
  CHECK(plural(27600, "step") == "27,600 steps");
  CHECK(plural(-27600, "step") == "-27,600 steps");
  CHECK(with_separators(-123) == "-123");
  CHECK(with_separators(1234567) == "1,234,567");
}

TEST_CASE("columns of text, not its bytes") {
  for (const char* locale : {"C", "C.UTF-8"}) {
    const Environment all("LC_ALL", locale);
    CHECK(columns_of("") == 0);
    CHECK(columns_of("loss 3.4462") == 11);
    CHECK(columns_of("▁▂▃█") == 4);
    CHECK(columns_of("é\u0301") == 1);  // a combining accent
    CHECK(columns_of("模型.params") == 11);
    CHECK(columns_of("caf\xe9") == 4);  // a stray byte
    CHECK(columns_of("\xe2\x96") == 2);
  }
}

TEST_CASE("the progress line at every width: what matters least goes first") {
  const StepReport report = report_of(30000);
  const std::string whole = "38.5%  epoch 250  iter 119  loss 3.4462  smoothed 3.4500  lr 6.0e-03  1h02m left  12346 tokens/s";
  CHECK(bar_line(report, 200) == " " + whole);
  CHECK(bar_line(report, 79) == " 38.5%  epoch 250  iter 119  loss 3.4462  smoothed 3.4500  1h02m left");
  CHECK(bar_line(report, 39) == " 38.5%  loss 3.4462  1h02m left");
  CHECK(bar_line(report, 19) == " 38.5%  loss 3.4462");
  CHECK(bar_line(report, 7) == " 38.5%");
  CHECK(bar_line(report, 3) == " 38");
  CHECK(bar_line(report, 0) == "");
  const auto importance_lost = [&](std::int64_t columns) {
    const std::string line = bar_line(report, columns);
    int shown = 0;
    bool gap = false;
    for (const char* part : {"%", "loss 3", "left", "smoothed", "epoch", "iter", "lr", "tokens/s"}) {
      if (!has(line, part)) gap = true;
      else if (gap) return -1;
      else ++shown;
    }
    return shown;
  };
  int before = 0;
  for (std::int64_t columns = 6; columns < 130; ++columns) {
    CAPTURE(columns);
    CHECK(columns_of(bar_line(report, columns)) <= columns);
    CHECK(importance_lost(columns) >= before);
    before = importance_lost(columns);
  }
  CHECK(before == 8);
  for (const double loss : {0.0, 1e-9, 9.99996, 12.3456, 123.456, 5e7, double(INFINITY), double(NAN)}) {
    StepReport other = report_of(1);
    other.loss = loss;
    CHECK(columns_of(bar_line(other, 19)) <= 19);
    CHECK(has(bar_line(other, 19), "%  loss "));
  }
}

TEST_CASE("parts that fit are left alone, and a wide character is not cut in two") {
  CHECK(fitted({{"a", 0}, {"b", 0}}, 4) == "a  b");
  CHECK(fitted({{"a", 0}, {"b", 1}}, 3) == "b");
  CHECK(fitted({}, 10) == "");
  CHECK(fitted({{"模型", 0}}, 3) == "模");
  CHECK(fitted({{"▁▂▃", 0}}, 2) == "▁▂");
}

TEST_CASE("messages break between words") {
  CHECK(wrapped("checkpoints go to model.checkpoint", 79) == "checkpoints go to model.checkpoint");
  CHECK(wrapped("checkpoints go to model.checkpoint", 20) == "checkpoints go to\n  model.checkpoint");
  CHECK(wrapped("checkpoints go to model.checkpoint", 4) == "checkpoints\n  go\n  to\n  model.checkpoint");
  CHECK(wrapped("  two in\none", 6) == "  two\n    in\none");
  CHECK(wrapped("a  b ", 79) == "a  b ");
  CHECK(wrapped("", 10) == "");
  CHECK(wrapped("learning rate: ▁▂▃▄▅▆▇█", 23) == "learning rate: ▁▂▃▄▅▆▇█");
  CHECK(wrapped("one\n\ntwo", 10) == "one\n\ntwo");
}

TEST_CASE("a terminal of any width: the line never reaches its last column") {
  const Environment reflowing("TERM", "tmux"), no_xterm("XTERM_VERSION", nullptr), no_screen("STY", nullptr);
  for (const unsigned short columns : {200, 100, 80, 79, 40, 20, 10, 2, 1}) {
    CAPTURE(columns);
    Terminal terminal(columns);
    {
      Progress progress(ProgressMode::bar);
      for (const std::int64_t step : {1, 29999, 78000}) {
        progress.step(report_of(step));
        std::this_thread::sleep_for(110ms);
      }
      terminal.look();
      CHECK(terminal.screen.take_overflows() == 0);
      CHECK(terminal.screen.lines().size() <= 1);
      if (columns >= 20) CHECK(has(terminal.screen.text(), "100.0%  "));
      progress.count(120, 500, "question", "answered");
      progress.status("looking at held_out.tsv");
      terminal.look();
      CHECK(terminal.screen.take_overflows() == 0);
      if (columns >= 40) CHECK(terminal.screen.text() == "looking at held_out.tsv\n");
    }
    CHECK(terminal.look().text() == "");
  }
}

TEST_CASE("a resize is followed, and what a narrower terminal has wrapped is cleared") {
  const Environment reflowing("TERM", "tmux"), no_xterm("XTERM_VERSION", nullptr), no_screen("STY", nullptr);
  Terminal terminal(80);
  Progress progress(ProgressMode::bar);
  progress.message("before");
  for (const unsigned short columns : {80, 40, 20, 33, 7, 120, 79, 40}) {
    CAPTURE(columns);
    terminal.resize(columns);
    terminal.screen.take_overflows();
    std::this_thread::sleep_for(110ms);
    progress.step(report_of(100));
    terminal.look();
    CHECK(terminal.screen.lines() == std::vector<std::string>{"before", bar_line(report_of(100), columns - 1)});
    CHECK(terminal.screen.take_overflows() == 0);
  }
  terminal.resize(12);
  progress.message("checkpoints go to model.checkpoint");
  CHECK(terminal.look().lines() == std::vector<std::string>{"before", "checkpoints", "  go to", "  model.checkpoint"});
}

TEST_CASE("where no terminal says its width COLUMNS does") {
  const Environment columns("COLUMNS", "50");
  Terminal terminal(0);
  CHECK(terminal_width() == 50);
  for (const char* odd : {"", "-3", "0", "wide", "99999999999999999999"}) {
    const Environment other("COLUMNS", odd);
    CHECK(terminal_width() == 80);
  }
  terminal.resize(31);
  CHECK(terminal_width() == 31);
}

TEST_CASE("in the background nothing is drawn, messages are said, and the line comes back with the foreground") {
  int master = -1;
  const pid_t shell = ::forkpty(&master, nullptr, nullptr, nullptr);
  if (shell == 0) {
    // As a shell does: a job in a process group of its own, which does not have the terminal at first.
    std::signal(SIGTTOU, SIG_IGN);
    const pid_t job = ::fork();
    if (job == 0) {
      ::setpgid(0, 0);
      Progress progress(ProgressMode::bar);
      while (in_foreground()) std::this_thread::sleep_for(1ms);
      progress.step(report_of(1));
      progress.status("hidden");
      progress.count(1, 2, "question", "answered");
      progress.message("a message");
      while (!in_foreground()) std::this_thread::sleep_for(1ms);
      progress.step(report_of(39000));
      while (in_foreground()) std::this_thread::sleep_for(1ms);
      progress.message("another");
      std::fflush(stderr);
      ::_exit(0);
    }
    ::setpgid(job, job);
    std::this_thread::sleep_for(300ms);
    ::tcsetpgrp(STDERR_FILENO, job);
    std::this_thread::sleep_for(300ms);
    ::tcsetpgrp(STDERR_FILENO, ::getpgrp());
    ::waitpid(job, nullptr, 0);
    ::_exit(0);
  }
  std::string said;
  char bytes[4096];
  for (ssize_t count; (count = ::read(master, bytes, sizeof bytes)) > 0;) said.append(bytes, count);
  ::waitpid(shell, nullptr, 0);
  ::close(master);
  CHECK(said.starts_with("a message\r\n\r\033[K 50.0%"));
  CHECK(said.ends_with("another\r\n"));
  CHECK_FALSE(has(said, "\033[Kanother"));  // the line is the prompt's now, and not to be erased
  CHECK_FALSE(has(said, "hidden"));
  CHECK_FALSE(has(said, "answered"));
}

TEST_CASE("the loss is smoothed from the first step on, and remembered in bounded room") {
  LossCurve curve;
  CHECK(curve.smoothed() == 0);
  CHECK(curve.drawing(79) == "");
  curve.add(1, 4.0);
  CHECK(curve.smoothed() == doctest::Approx(4));
  curve.add(2, 2.0);
  CHECK(curve.smoothed() == doctest::Approx((0.98 * 4 + 2) / 1.98));
  for (std::int64_t step = 3; step <= 5000; ++step) curve.add(step, 1 + 3.0 / double(step));
  CHECK(curve.smoothed() == doctest::Approx(1 + 3.0 / 4950).epsilon(1e-4));
  CHECK(curve.state().dump().size() < 4000);
  std::int64_t steps = 0;
  for (const LossCurve::Column& column : curve.columns(60)) steps += column.steps;
  CHECK(steps == 5000);
  CHECK(curve.columns(60).size() <= 60);
  CHECK(curve.columns(60).size() > 30);
  CHECK(curve.columns(60)[1].mean < curve.columns(60)[0].mean);
}

TEST_CASE("the state of the losses and of the best evaluation: what it was, or refused") {
  for (const std::int64_t steps : {0, 1, 119, 120, 121, 240, 241, 1000}) {
    LossCurve whole, first;
    for (std::int64_t step = 1; step <= 1500; ++step) whole.add(step, std::sin(double(step)) + 2);
    for (std::int64_t step = 1; step <= steps; ++step) first.add(step, std::sin(double(step)) + 2);
    LossCurve resumed = LossCurve::from_state(nlohmann::json::parse(first.state().dump()), steps, "file");
    for (std::int64_t step = steps + 1; step <= 1500; ++step) resumed.add(step, std::sin(double(step)) + 2);
    CHECK(resumed.state() == whole.state());
    CHECK(resumed.drawing(79) == whole.drawing(79));
  }
  LossCurve curve;
  for (std::int64_t step = 41; step <= 300; ++step) curve.add(step, 1);  // the checkpoint was an old one
  const nlohmann::json good = curve.state();
  CHECK(LossCurve::from_state(good, 300, "file").state() == good);
  CHECK(has(curve.drawing(79), "loss over 260 steps from step 41 on"));
  const auto refused = [](auto&& read) {
    try {
      read();
    } catch (const DataError& error) {
      return std::string(error.what()).starts_with("file: its state is damaged: ");
    } catch (const nlohmann::json::exception&) {
      return true;
    }
    return false;
  };
  for (const auto& [name, value] : std::vector<std::pair<std::string, nlohmann::json>>{{"first_step", 0},
                                                                                       {"steps", 261},
                                                                                       {"steps", -1},
                                                                                       {"steps_per_sum", 0},
                                                                                       {"steps_per_sum", 1},
                                                                                       {"sums", {1.0}},
                                                                                       {"sums", "many"},
                                                                                       {"average", nullptr}}) {
    CAPTURE(name);
    nlohmann::json bad = good;
    bad[name] = value;
    CHECK(refused([&] { LossCurve::from_state(bad, 300, "file"); }));
  }
  CHECK(refused([&] { LossCurve::from_state(good, 299, "file"); }));
  CHECK(refused([&] { LossCurve::from_state(nullptr, 299, "file"); }));

  BestEvaluation best;
  CHECK(best.text() == "");
  best.add(200, {.loss = 1.5, .right = 3, .questions = 12});
  best.add(400, {.loss = 1.2, .right = 3, .questions = 12});
  best.add(600, {.loss = NAN, .right = 6, .questions = 12});
  CHECK(best.text() == "best: held-out loss 1.2000 after step 400; 6 of 12 right (50.0 %) after step 600");
  CHECK(BestEvaluation::from_state(best.state(), 600, "file").state() == best.state());
  CHECK(refused([&] { BestEvaluation::from_state(best.state(), 599, "file"); }));
  for (const auto& [name, value] : {std::pair("right", 13), {"right", -1}, {"questions", 0}, {"loss_step", -1}}) {
    nlohmann::json bad = best.state();
    bad[name] = value;
    CHECK(refused([&] { BestEvaluation::from_state(bad, 600, "file"); }));
  }
  CHECK(Evaluation{.loss = 1.23456}.text() == "held-out loss 1.2346");
  CHECK(Evaluation{.loss = 1.23456, .right = 12, .questions = 120}.text() == "held-out loss 1.2346, 12 of 120 right (10.0 %)");
}

TEST_CASE("the curve of the loss: eight levels, log or linear, in any locale") {
  const Environment utf8("LC_ALL", "en_US.UTF-8");
  CHECK(sparkline({8, 7, 6, 5, 4, 3, 2.5}).bars == "█▇▆▄▃▁▁");
  CHECK(sparkline({8, 7, 6, 5, 4, 3, 2.5}).scale == "linear scale");
  CHECK(sparkline({256, 110, 50, 20, 9, 1}).bars == "█▇▆▅▄▁");
  CHECK(sparkline({256, 110, 50, 20, 9, 1}).scale == "log scale");
  CHECK(sparkline({8, 0, 4}).scale == "linear scale");
  CHECK(sparkline({3, 3, 3}).bars == "▄▄▄");
  CHECK(sparkline({0, 0}).bars == "▄▄");
  CHECK(sparkline({2}).bars == "▄");
  CHECK(sparkline({}).bars == "");
  CHECK(sparkline({NAN, 2, INFINITY, 1, -INFINITY}).bars == " █ ▁ ");
  CHECK(sparkline({NAN}).bars == " ");

  LossCurve curve;
  for (std::int64_t step = 1; step <= 9; ++step) curve.add(step, double(step));
  CHECK(curve.drawing(79) == "");
  curve.add(10, 10);
  CHECK(curve.drawing(79) == "loss over 10 steps, log scale\n1 ▁▃▄▅▆▇▇███ 10");
  for (std::int64_t step = 11; step <= 600; ++step) curve.add(step, 10);
  CHECK(has(curve.drawing(79), "loss over 600 steps, mean of every 16, linear scale\n7.188 ▁█"));
  for (const std::int64_t width : {200, 79, 39, 30}) {
    const std::string drawing = curve.drawing(width);
    CHECK(columns_of(drawing.substr(drawing.find('\n') + 1)) <= width);
  }
  for (const auto& [name, value, is_utf8] : std::vector<std::tuple<const char*, const char*, bool>>{
           {"LC_ALL", "C", false}, {"LC_ALL", "POSIX", false}, {"LC_ALL", "de_DE.ISO-8859-1", false},
           {"LC_ALL", "C.UTF-8", true}, {"LC_ALL", "de_DE.utf8", true}, {"LC_ALL", "", false}}) {
    CAPTURE(value);
    const Environment ctype("LC_CTYPE", ""), lang("LANG", nullptr), set(name, value);
    CHECK(locale_is_utf8() == is_utf8);
    CHECK(bars({0, 1, 8}) == (is_utf8 ? " ▁█" : " .@"));
  }
  const Environment all("LC_ALL", nullptr), ctype("LC_CTYPE", "C.UTF-8"), lang("LANG", "C");
  CHECK(locale_is_utf8());
}
