#include "framework/testing/step_sweep.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
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

/// Where among equal steps the sixth differences are largest: of a jump they are ten times its height.
struct Roughness {
  double height = 0, at = 0, size = 0;
};

Roughness roughest(const Curve& curve, double centre, double spacing, int points) {
  static constexpr std::array<double, 7> sixth = {1, -6, 15, -20, 15, -6, 1};
  std::vector<Evaluation> f;
  for (int k = 0; k < points; ++k) f.push_back(curve(centre + spacing * (k - (points - 1) / 2.0)));
  Roughness found;
  for (int k = 0; k + 6 < points; ++k) {
    double difference = 0;
    for (int j = 0; j < 7; ++j) difference += sixth[j] * f[k + j].value;
    if (std::fabs(difference) / 10 > found.height)
      found = {std::fabs(difference) / 10, f[k + 3].moved, std::max(f[k].size, f[k + 6].size)};
  }
  return found;
}

/// Looked at from ever nearer, a bend becomes a line, and a jump stays what it is. A jump by a good part of the value is
/// a branch, and none of these.
double largest_jump(const Curve& curve, double centre, double window) {
  double spacing = window / 16;
  Roughness now = roughest(curve, centre, spacing, 33);
  const double before = now.height;
  for (int look = 1; look <= 12 && now.height > 0; ++look) {
    spacing /= 4;
    now = roughest(curve, now.at, spacing, 13);
    if (look % 2 == 0 && now.height < before / 8) return 0;
  }
  return now.height <= 0x1p-6 * now.size ? now.height : 0;
}

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
    find_noise();
    for (int stairs = 0; stairs < 4 && find_stair(); ++stairs) {
    }
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
    return std::none_of(levels_.begin(), levels_.end(), level_moves) && std::any_of(levels_.begin(), levels_.end(), has_value);
  }
  bool is_empty() const { return levels_.empty(); }
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
  static bool has_value(const Level& level) { return std::isfinite(level.up.value) || std::isfinite(level.down.value); }
  static bool level_moves(const Level& level) { return moves(level.up) || moves(level.down); }

  double rounding(const Evaluation& a, const Evaluation& b, double unit) const {
    return 2 * std::max({noise_, unit, a.quantum, b.quantum}) + 4 * unit_roundoff * (a.magnitude + b.magnitude);
  }

  /// Where larger steps contradict smaller ones, the function may jump between: by a small part of its value, as a result
  /// rounded to fewer digits does, or a solver that stops. Between two such stairs the slope is not the function's. (A
  /// jump by a good part is a branch; a bend is none at all.)
  bool find_stair() {
    const Known known = central();
    if (!known.is_known() || known.step >= levels_.front().h / 2) return false;
    for (double window = levels_.front().h; window > known.step / 4 && window > levels_.front().h * 0x1p-20; window /= 16) {
      const double height = largest_jump(curve_, 0, window);
      if (!(height > std::max(stair_, 8 * noise_))) continue;
      stair_ = height;
      noise_ = std::max({noise_, height / 2, std::numeric_limits<double>::denorm_min()});  // of a value in the middle of its stair
      return true;
    }
    return false;
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

double largest_jump_nearby(const Curve& curve, double scale) {
  constexpr int tiles = 12;
  double largest = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    const double centre = scale / 4 * ((2.0 * tile + 1) / tiles - 1);
    largest = std::max(largest, largest_jump(curve, centre, scale / 4 / tiles));
  }
  return largest;
}

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
  if (a.is_constant() && (b.is_constant() || b.is_empty())) {
    result.conclusive = result.constant = true;
    result.bar = 2 * options.output_quantum / first;
    return result;
  }
  const Known right_a = a.one_sided(true), left_a = a.one_sided(false);
  const Estimate right = both(right_a, b.one_sided(true)), left = both(left_a, b.one_sided(false));
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
    result.side = &side == &right ? 1 : -1;
    result.step = result.side > 0 ? right_a.step : left_a.step;
  }
  result.conclusive = estimate.is_known();
  result.value = estimate.value;
  result.bar = estimate.bar;
  return result;
}

}  // namespace gradus::testing
