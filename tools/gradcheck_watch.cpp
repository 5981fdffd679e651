#include "tools/gradcheck_watch.h"

#include "framework/base/plural.h"

namespace gradus::tools {

void GradcheckWatch::tick() {
  constexpr double patience = 2, interval = 0.5;
  if (is_over()) throw OutOfTime(reason());
  ++evaluations_;
  const double now = seconds();
  if (now < patience || now < shown_at_ + interval) return;
  shown_at_ = now;
  if (!progress_) progress_ = std::make_unique<train::Progress>(train::ProgressMode::automatic);
  progress_->status(fmt::format("{}: {}, {:.0f} s", what_, plural(evaluations_, "evaluation"), now));
}

std::string GradcheckWatch::reason() const {
  return fmt::format("not checked: the time limit of {:g} s was reached", limit_);
}

}  // namespace gradus::tools
