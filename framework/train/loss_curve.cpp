#include "framework/train/loss_curve.h"

#include <algorithm>
#include <cmath>

#include "framework/base/bars.h"
#include "framework/base/error.h"
#include "framework/base/plural.h"

namespace gradus::train {

void LossCurve::add(std::int64_t step, double loss) {
  if (steps_ == 0) first_step_ = step;
  if (steps_ % steps_per_sum_ != 0) {
    sums_.back() += loss;
  } else {
    if (sums_.size() == most_sums) {
      for (std::size_t i = 0; i < most_sums / 2; ++i) sums_[i] = sums_[2 * i] + sums_[2 * i + 1];
      sums_.resize(most_sums / 2);
      steps_per_sum_ *= 2;
    }
    sums_.push_back(loss);
  }
  ++steps_;
  average_ = memory * average_ + (1 - memory) * loss;
  weight_ = memory * weight_ + (1 - memory);
}

std::vector<LossCurve::Column> LossCurve::columns(std::int64_t most) const {
  const auto count = static_cast<std::int64_t>(sums_.size()), sums_each = (count + most - 1) / most;
  std::vector<Column> columns;
  for (std::int64_t begin = 0; begin < count; begin += sums_each) {
    const std::int64_t end = std::min(begin + sums_each, count);
    const std::int64_t steps = std::min(end * steps_per_sum_, steps_) - begin * steps_per_sum_;
    double sum = 0;
    for (std::int64_t i = begin; i < end; ++i) sum += sums_[i];
    columns.push_back({sum / static_cast<double>(steps), steps});
  }
  return columns;
}

std::string LossCurve::drawing(std::int64_t width) const {
  if (steps_ < 10) return "";
  constexpr std::int64_t room_for_values = 2 * 10, most_drawn = 60, least_drawn = 4;
  const std::vector<Column> drawn = columns(std::clamp(width - room_for_values, least_drawn, most_drawn));
  std::vector<double> means;
  for (const Column& column : drawn) means.push_back(column.mean);
  const Sparkline line = sparkline(means);
  const std::string from = first_step_ > 1 ? fmt::format(" from step {} on", first_step_) : "";
  const std::string each = drawn[0].steps > 1 ? fmt::format(", mean of every {}", drawn[0].steps) : "";
  return fmt::format("loss over {}{}{}, {}\n{:.4g} {} {:.4g}", plural(steps_, "step"), from, each, line.scale,
                     means.front(), line.bars, means.back());
}

nlohmann::json LossCurve::state() const {
  return {{"first_step", first_step_}, {"steps", steps_}, {"steps_per_sum", steps_per_sum_},
          {"sums", sums_},             {"average", average_}, {"weight", weight_}};
}

LossCurve LossCurve::from_state(const nlohmann::json& state, std::int64_t last_step, const std::string& path) {
  LossCurve curve;
  curve.first_step_ = state.at("first_step");
  curve.steps_ = state.at("steps");
  curve.steps_per_sum_ = state.at("steps_per_sum");
  curve.sums_ = state.at("sums").get<std::vector<double>>();
  curve.average_ = state.at("average");
  curve.weight_ = state.at("weight");
  const auto sums = static_cast<std::int64_t>(curve.sums_.size()), each = curve.steps_per_sum_;
  if (curve.first_step_ < 1 || curve.steps_ < 0 || curve.steps_ > last_step || each < 1 || sums > std::int64_t{most_sums} ||
      (curve.steps_ > 0 && curve.first_step_ - 1 != last_step - curve.steps_) ||
      sums != curve.steps_ / each + (curve.steps_ % each > 0)) {
    fail<DataError>("{}: its state is damaged: its losses are not those of {}", path, plural(last_step, "step"));
  }
  return curve;
}

Sparkline sparkline(const std::vector<double>& values) {
  double least = INFINITY, greatest = -INFINITY;
  for (const double value : values) {
    if (std::isfinite(value)) least = std::min(least, value), greatest = std::max(greatest, value);
  }
  const bool is_log = least > 0 && greatest >= 4 * least;
  const auto height = [&](double value) { return is_log ? std::log(value) : value; };
  std::vector<int> levels;
  for (const double value : values) {
    if (!std::isfinite(value)) levels.push_back(0);
    else if (least == greatest) levels.push_back(4);
    else {
      const double share = (height(value) - height(least)) / (height(greatest) - height(least));
      levels.push_back(1 + std::clamp(static_cast<int>(8 * share), 0, 7));
    }
  }
  return {bars(levels), is_log ? "log scale" : "linear scale"};
}

}  // namespace gradus::train
