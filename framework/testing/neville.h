// Neville's extrapolation of difference quotients to a step of zero, with a bar.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace gradus::testing {

inline constexpr double unit_roundoff = 0x1p-53;  ///< of double

/// |value - what it estimates| <= bar, as far as can be told; infinite: nothing is known.
struct Estimate {
  double value = std::numeric_limits<double>::quiet_NaN();
  double bar = std::numeric_limits<double>::infinity();

  bool is_known() const { return std::isfinite(value) && std::isfinite(bar); }
};

inline bool agree(const Estimate& a, const Estimate& b) {
  return std::isfinite(a.value) && std::isfinite(b.value) && std::fabs(a.value - b.value) <= a.bar + b.bar;
}

/// Row i belongs to the step first / 2^i. Column j takes out the error term of the power j * order of the step: order 2
/// for central differences, 1 for one-sided ones. (L. F. Richardson; E. H. Neville.)
class Tableau {
 public:
  explicit Tableau(int order, int columns = 12) : order_(order), columns_(std::min(columns, most_columns)) {}

  void restart() { rows_ = 0; }
  int rows() const { return rows_; }

  /// Adds the quotient of the next smaller step, known up to `rounding`; returns the best estimate of this row.
  Estimate add(double quotient, double rounding) {
    std::array<Estimate, most_columns> row;
    Estimate best;
    row[0] = {quotient, rounding};
    const int last = std::min(rows_, columns_ - 1);
    for (int j = 1; j <= last; ++j) {
      const double factor = std::pow(2.0, order_ * j);
      row[j].value = (factor * row[j - 1].value - row_[j - 1].value) / (factor - 1);
      row[j].bar = (factor * row[j - 1].bar + row_[j - 1].bar) / (factor - 1);
      const double spread =
          std::max(std::fabs(row[j].value - row[j - 1].value), std::fabs(row[j].value - row_[j - 1].value));
      const double bar = spread_factor * spread + noise_factor * row[j].bar;
      if (bar < best.bar) best = {row[j].value, bar};
    }
    row_ = row;
    ++rows_;
    if (best.bar < best_.bar) best_ = best;
    return best;
  }

  /// Of all rows.
  const Estimate& best() const { return best_; }

 private:
  static constexpr int most_columns = 12;
  /// The spread between neighbours is about the error of the worse one; the bar allows for an unlucky spread.
  static constexpr double spread_factor = 8, noise_factor = 4;

  int order_, columns_, rows_ = 0;
  std::array<Estimate, most_columns> row_;
  Estimate best_;
};

}  // namespace gradus::testing
