// What a run remembers of its losses: a smoothed one, and the course of all of them in little room.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace gradus::train {

/// The losses of the steps that were added, one after the other. Its state is part of a checkpoint, so that it is the
/// same in a run that was resumed.
class LossCurve {
 public:
  /// Weight of what came before in the smoothed loss: it is a mean over the last fifty steps or so.
  static constexpr double memory = 0.98;

  void add(std::int64_t step, double loss);
  std::int64_t steps() const { return steps_; }
  /// Exponential average of the losses, each with `memory` times the weight of the next; of few steps the mean of those
  /// there are, the first one not weighing more than its share.
  double smoothed() const { return weight_ > 0 ? average_ / weight_ : 0; }

  struct Column {
    double mean;
    std::int64_t steps;
  };
  /// At most `columns` means of equally many consecutive steps, the last one of what is left.
  std::vector<Column> columns(std::int64_t most) const;

  /// Two lines: what is drawn, and the curve with the values at its ends, within `width` columns; empty for fewer than
  /// ten steps.
  std::string drawing(std::int64_t width) const;

  nlohmann::json state() const;
  /// Throws DataError with `path`, or an exception of the JSON library, for what is no state after `last_step`.
  static LossCurve from_state(const nlohmann::json& state, std::int64_t last_step, const std::string& path);

 private:
  /// Twice as many as are drawn, so that at least so many are left when two become one.
  static constexpr std::size_t most_sums = 120;
  std::int64_t first_step_ = 1, steps_ = 0, steps_per_sum_ = 1;
  std::vector<double> sums_;  ///< of `steps_per_sum_` losses each, the last one of what is left
  double average_ = 0, weight_ = 0;
};

/// Values as bars from the least to the greatest, and which scale this is: `log scale` where the greatest is at least
/// four times the least and both are positive, else `linear scale`. Equal values are bars of middle height, a value that
/// is not finite is a blank.
struct Sparkline {
  std::string bars, scale;
};
Sparkline sparkline(const std::vector<double>& values);

}  // namespace gradus::train
