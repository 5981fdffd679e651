// The time that a check may take, and what people see of one that takes long.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "framework/base/error.h"
#include "framework/train/progress.h"

namespace gradus::tools {

/// Thrown where the time is over: what was not checked by then cannot be told.
struct OutOfTime : Error {
  using Error::Error;
};

class GradcheckWatch {
 public:
  /// `limit` in seconds; 0: none.
  explicit GradcheckWatch(double limit) : limit_(limit) {}

  /// `softmax, draw 3 of 20`.
  void begin(const std::string& what) { what_ = what, evaluations_ = 0; }
  /// To be called before each evaluation. Throws OutOfTime. From two seconds on, a line on a terminal says what goes
  /// on.
  void tick();
  /// Takes that line away: something is to be printed.
  void hide() { progress_.reset(); }
  bool is_over() const { return limit_ > 0 && seconds() > limit_; }
  /// `not checked: the time limit of 5 s was reached`.
  std::string reason() const;

 private:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

  double limit_;
  std::string what_;
  std::int64_t evaluations_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double shown_at_ = 0;
  std::unique_ptr<train::Progress> progress_;
};

}  // namespace gradus::tools
