#include "framework/testing/step_sweep.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "framework/testing/neville.h"

namespace gradus::testing {
namespace {

constexpr int most_levels = 52, sweep_columns = 6;

/// What is known from one sequence of steps, and how far out it held.
struct Known : Estimate {
  double step = 0;
};

class Sweep {
 public:
  Sweep(const Curve& curve, double first, double smallest, double noise) : curve_(curve), noise_(noise) {
    double h = first, unit = 0;
    for (int k = 0; k < most_levels && h >= smallest; ++k, h /= 2) {
      const Evaluation up = at(h), down = at(-h);
      for (const double found : {up.unit_at_0, down.unit_at_0}) unit = std::isfinite(found) ? std::max(unit, found) : unit;
      levels_.push_back({h, up, down, unit});
    }
  }

  void measure() {
    find_stair();
    find_noise();
  }

  Known central() const {
    return refined(2, [this](const Level& level) -> std::optional<Quotient> {
      const auto& [h, up, down, unit] = level;
      if (!up.valid || !down.valid || !(up.moved > down.moved)) return std::nullopt;
      const double width = up.moved - down.moved;
      return Quotient{(up.value - down.value) / width, rounding(up, down, unit) / width};
    });
  }

  /// Other branches count, as the point itself may lie where two meet.
  Known one_sided(bool is_right) const {
    return refined(1, [this, is_right](const Level& level) -> std::optional<Quotient> {
      const Evaluation& found = is_right ? level.up : level.down;
      if (!std::isfinite(found.value) || !std::isfinite(found.quantum) || found.moved == 0) return std::nullopt;
      return Quotient{found.value / found.moved, rounding(found, found, level.unit) / std::fabs(found.moved)};
    });
  }

  bool is_constant() const {
    return std::none_of(levels_.begin(), levels_.end(), level_moves);
  }
  double noise() const { return noise_; }
  double stair() const { return stair_; }
  int evaluations() const { return evaluations_; }

 private:
  struct Level {
    double h;
    Evaluation up, down;
    double unit;  ///< rounding unit of all that larger steps move: smaller ones may not show it, and miss it
  };
  struct Quotient {
    double value, rounding;
  };

  Evaluation at(double t) {
    ++evaluations_;
    return curve_(t);
  }

  static bool moves(const Evaluation& found) { return found.value != 0 && !std::isnan(found.value); }
  static bool level_moves(const Level& level) { return moves(level.up) || moves(level.down); }

  double rounding(const Evaluation& a, const Evaluation& b, double unit) const {
    return 2 * std::max({noise_, unit, a.quantum, b.quantum}) + 4 * unit_roundoff * (a.magnitude + b.magnitude);
  }

  /// Where small steps change nothing and larger ones do, the function either leaves a flat part there or climbs a
  /// stair, whose height is the jump at the edge. A jump by a good part of the value is a branch of the function and no
  /// stair.
  void find_stair() {
    constexpr double largest_share = 0x1p-6;
    const auto flat = std::find_if_not(levels_.begin(), levels_.end(), level_moves);
    if (flat == levels_.begin() || levels_.end() - flat < 3 || std::any_of(flat, levels_.end(), level_moves)) return;
    const double side = moves((flat - 1)->up) ? 1 : -1;
    double flat_until = flat->h, moved_at = (flat - 1)->h;
    Evaluation beyond = side > 0 ? (flat - 1)->up : (flat - 1)->down;
    const double before = std::fabs(beyond.value);
    for (int halving = 0; halving < 40; ++halving) {
      const double h = (flat_until + moved_at) / 2;
      const Evaluation found = at(side * h);
      (moves(found) ? moved_at : flat_until) = h;
      if (moves(found)) beyond = found;
    }
    const double height = std::fabs(beyond.value);
    if (!(height <= largest_share * beyond.size)) return;
    if (height > before / 64) stair_ = height;
    noise_ = std::max(noise_, height / 2);  // of a value in the middle of its stair
  }

  /// Between the smallest steps nothing but noise is left of the differences' differences.
  void find_noise() {
    std::vector<double> rest;
    for (std::size_t k = levels_.size(); k-- > 1 && rest.size() < 7;) {
      const Level &small = levels_[k], &large = levels_[k - 1];
      if (!small.up.valid || !small.down.valid || !large.up.valid || !large.down.valid) continue;
      const double expected = (large.up.moved - large.down.moved) / (small.up.moved - small.down.moved);
      const double difference = (large.up.value - large.down.value) - expected * (small.up.value - small.down.value);
      if (std::isfinite(difference)) rest.push_back(std::fabs(difference) / 3);  // of four evaluations, two of them doubled
    }
    if (rest.size() < 5) return;
    std::nth_element(rest.begin(), rest.begin() + rest.size() / 2, rest.end());
    noise_ = std::max(noise_, rest[rest.size() / 2]);
  }

  template <class Find>
  Known refined(int order, Find quotient_of) const {
    Tableau tableau(order, sweep_columns);
    std::vector<Estimate> rows;
    for (const Level& level : levels_) {
      const std::optional<Quotient> quotient = quotient_of(level);
      if (!quotient) tableau.restart();
      rows.push_back(quotient ? tableau.add(quotient->value, quotient->rounding) : Estimate{});
    }
    Known known;
    for (std::size_t k = rows.size(); k-- > 0;) {
      if (!rows[k].is_known()) continue;
      if (known.is_known() && !agree(known, rows[k])) break;
      known.step = levels_[k].h;
      if (rows[k].bar < known.bar) static_cast<Estimate&>(known) = rows[k];
    }
    return known;
  }

  const Curve& curve_;
  double noise_, stair_ = 0;
  std::vector<Level> levels_;
  int evaluations_ = 0;
};

Estimate both(const Estimate& a, const Estimate& b) {
  if (!a.is_known() || !b.is_known() || !agree(a, b)) return {};
  const Estimate& better = a.bar <= b.bar ? a : b;
  return {better.value, std::max(better.bar, std::fabs(a.value - b.value))};
}

}  // namespace

Derivative sweep_steps(const Curve& curve, const DerivativeOptions& options, double noise) {
  const double scale = std::fabs(options.scale), first = scale / 4;
  Sweep a(curve, first, options.smallest_step > 0 ? options.smallest_step : scale * 0x1p-50, noise);
  a.measure();
  // The second one has unrelated steps, as far as they are needed to confirm what the first one found.
  double farthest = 0, nearest = first;
  for (const Known& known : {a.central(), a.one_sided(true), a.one_sided(false)}) {
    if (!known.is_known()) continue;
    farthest = std::max(farthest, known.step);
    nearest = std::min(nearest, known.step);
  }
  const Sweep b(curve, 0.61 * std::min(first, 2 * farthest), nearest * 0x1p-12, a.noise());
  Derivative result;
  result.noise = a.noise();
  result.stair = a.stair();
  result.evaluations = a.evaluations() + b.evaluations();
  if (a.is_constant() && b.is_constant()) {
    result.conclusive = result.constant = true;
    result.bar = 2 * options.output_quantum / first;
    return result;
  }
  const Estimate right = both(a.one_sided(true), b.one_sided(true)), left = both(a.one_sided(false), b.one_sided(false));
  const Known of_a = a.central(), of_b = b.central();
  Estimate estimate = both(of_a, of_b);
  result.step = std::min(of_a.step, of_b.step);
  const double side_bar = std::max(left.bar, right.bar);
  if (left.is_known() && right.is_known() && std::fabs(left.value - right.value) > 4 * side_bar) {
    result.at_kink = true;
    result.left = left.value;
    result.right = right.value;
    result.side_bar = side_bar;
    estimate = {(left.value + right.value) / 2, std::fabs(left.value - right.value) / 2 + side_bar};
  } else if (const Estimate& side = left.bar <= right.bar ? left : right;
             side.bar < estimate.bar && (agree(side, estimate) || !of_a.is_known() || !of_b.is_known())) {
    estimate = side;  // close to the edge of the domain, or at it
  }
  result.conclusive = estimate.is_known();
  result.value = estimate.value;
  result.bar = estimate.bar;
  return result;
}

}  // namespace gradus::testing
