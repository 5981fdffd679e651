#include "framework/testing/judge.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "framework/autograd/modes.h"
#include "framework/tensor/creation.h"

namespace gradus::testing {
namespace {

/// So many accusations of one input rest on all the evidence, later ones on the ladders alone. What cannot be told stays
/// so after that many attempts.
constexpr int fully_proven = 24, most_proofs = 600;
/// Fewer where one evaluation touches many elements.
constexpr double elements_of_proofs = 2e5;

/// Nodes and weights of Gauss and Legendre on [-1, 1]; the positive nodes, as they lie symmetrically.
struct Quadrature {
  std::array<double, 4> nodes, weights;
};
constexpr Quadrature six_points = {{0.238619186083196909, 0.661209386466264514, 0.932469514203152028, 0},
                                   {0.467913934572691047, 0.360761573048138608, 0.171324492379170345, 0}};
constexpr Quadrature eight_points = {{0.183434642495649805, 0.525532409916328986, 0.796666477413626740, 0.960289856497536232},
                                     {0.362683783378361983, 0.313706645877887287, 0.222381034453374471, 0.101228536290376259}};

/// The inputs with the elements of the direction moved by t.
Tensors moved_inputs(const Tensors& inputs, const Direction& direction, double t) {
  Tensors moved = inputs;
  const Tensor& input = inputs[direction.input];
  Numbers values = input.to_vector<double>();
  for (std::int64_t e = direction.begin; e < direction.end; ++e)
    values[e] += direction.sign(e) * t;
  moved[direction.input] = from_values(input.shape(), values, input.dtype());
  return moved;
}

}  // namespace

Judge::Judge(const CheckedPoint& point, std::size_t input, const Numbers& rounding)
    : point_(point), input_(input), rounding_(rounding), is_exact_(static_cast<bool>(point.subject.tangent_of)) {}

double Judge::rounding(const Direction& direction) const {
  if (direction.end - direction.begin == 1) return rounding_[direction.begin];
  double squares = 0, largest = 0;
  for (std::int64_t e = direction.begin; e < direction.end; ++e) {
    squares += rounding_[e] * rounding_[e];
    largest = std::max(largest, rounding_[e]);
  }
  return std::max(2 * std::sqrt(squares), largest);
}

bool Judge::fits(const Derivative& derivative, double yours, double rounding) const {
  if (!derivative.at_kink) return std::fabs(yours - derivative.value) <= bars_allowed * derivative.bar + rounding;
  const double slack = bars_allowed * derivative.side_bar + rounding;
  return yours >= std::min(derivative.left, derivative.right) - slack &&
         yours <= std::max(derivative.left, derivative.right) + slack;
}

ElementVerdict Judge::judge(const Direction& direction, std::int64_t number, double yours, double scale,
                            bool prove) {
  ElementVerdict verdict{.element = number, .yours = yours};
  const double own_rounding = rounding(direction);
  Line& line = point_.line;
  Derivative derivative = with_forward_mode(direction, line.derivative(direction, 1e-9 * std::max(scale, std::fabs(yours))));
  const double sharp = line.inputs()[input_].dtype() == DType::f64 ? 1e-6 : 1e-3;  // where a wide bar is all there is, so be it
  const bool is_blurred = bars_allowed * derivative.bar > sharp * std::max(scale, std::fabs(yours)) && !derivative.constant;
  const bool is_doubted = !derivative.conclusive || is_blurred || !fits(derivative, yours, own_rounding);
  bool is_proven = false;
  const double cost = static_cast<double>(line.output_elements() + line.inputs()[input_].numel());
  const auto enough = static_cast<int>(std::clamp(elements_of_proofs / cost, 2.0, double{fully_proven}));
  if (is_doubted && prove && accusations_ < enough && proofs_ < most_proofs) {
    ++proofs_;
    derivative = with_forward_mode(direction, line.derivative(direction, 0, Line::Effort::thorough));
    const bool is_single = direction.end - direction.begin == 1;
    if (derivative.conclusive && is_single && is_close(yours, derivative.value, scale) && !fits(derivative, yours, own_rounding)) {
      if (const double jump = std::max(line.largest_jump(direction), largest_stair_); jump > derivative.noise) {
        derivative = with_forward_mode(direction, line.derivative(direction, 0, Line::Effort::thorough, jump));
        derivative.stair = jump;
      }
    }
    largest_stair_ = std::max(largest_stair_, derivative.stair);
    is_proven = true;
  }
  if (derivative.constant && point_.nan_outputs) derivative.conclusive = false;  // NaN does not change, whatever it hides
  verdict.expected = derivative.value;
  verdict.bar = derivative.bar;
  verdict.allowed = bars_allowed * derivative.bar + (derivative.at_kink ? 0 : own_rounding);
  verdict.is_constant = derivative.constant;
  if (!std::isfinite(yours)) {
    const bool is_unbounded = point_.nan_outputs || line.reaches_unbounded(direction);
    verdict.verdict = is_unbounded ? Verdict::agree : derivative.conclusive ? Verdict::disagree : Verdict::cannot_tell;
    verdict.left_out = is_unbounded;
  } else if (!derivative.conclusive) {
    verdict.verdict = Verdict::cannot_tell;
  } else if (!fits(derivative, yours, own_rounding)) {
    const bool is_large = std::fabs(yours - derivative.value) > point_.options.smallest_error * std::max(scale, std::fabs(yours));
    const bool is_refuted = is_large && is_proven && !is_confirmed(direction, yours, derivative);
    const bool is_wrong = is_large && !is_refuted && (is_proven || accusations_ > 0);
    verdict.verdict = is_wrong ? Verdict::disagree : Verdict::cannot_tell;
    accusations_ += is_wrong;
    contradicted_ += is_refuted;
  } else if (derivative.at_kink) {
    verdict.at_kink = true;
  } else if (derivative.constant && yours == 0) {
    verdict.bar = verdict.allowed = 0;
  }
  return verdict;
}

/// The claimed number with the inputs moved by t along the direction; NaN where the op refuses them.
double Judge::claimed_along(const Direction& direction, double t) const {
  const Tensors inputs = moved_inputs(point_.line.inputs(), direction, t);
  const std::optional<Tensors> gradients =
      unless_refused(point_.subject, [&] { return point_.subject.backward(inputs, clones(point_.cotangents)); });
  if (!gradients) return std::nan("");
  const Numbers claimed = numbers_of((*gradients)[input_], inputs[input_].numel());
  double sum = 0;
  for (std::int64_t e = direction.begin; e < direction.end; ++e) {
    if (direction.sign(e) != 0) sum += direction.sign(e) * claimed[e];
  }
  return sum;
}

/// Over an interval on which the function is smooth, a right gradient adds up to what forward changes by. A wrong one
/// does not; or it does, and is wrong at this very point alone, as its neighbours show. Between two slopes, and where
/// nothing moves at any distance, there is nothing to add up: all steps on both sides say the same.
bool Judge::is_confirmed(const Direction& direction, double yours, const Derivative& derivative) const {
  if (derivative.at_kink || derivative.constant) return true;
  Line& line = point_.line;
  const double error = yours - derivative.value;
  for (double h = derivative.step; h > derivative.step * 0x1p-16; h *= 0x1p-4) {
    const double from = derivative.side > 0 ? 0 : -h, to = derivative.side < 0 ? 0 : h;
    const auto integral = [&](const Quadrature& rule) {
      double sum = 0;
      for (std::size_t k = 0; k < rule.nodes.size() && rule.weights[k] > 0; ++k) {
        for (const double node : {rule.nodes[k], -rule.nodes[k]})
          sum += rule.weights[k] * claimed_along(direction, (from + to) / 2 + node * (to - from) / 2);
      }
      return sum * (to - from) / 2;
    };
    const Evaluation end = line.at(direction, to), begin = line.at(direction, from);
    const double width = end.moved - begin.moved, fine = integral(eight_points), coarse = integral(six_points);
    const double left_over = fine - (end.value - begin.value), expected = std::fabs(error * width);
    const double doubt = std::fabs(fine - coarse) + 8 * derivative.noise + (2 * derivative.bar + rounding(direction)) * width;
    if (!std::isfinite(end.value) || !std::isfinite(begin.value) || !(doubt <= 0.25 * expected)) continue;
    if (std::fabs(left_over) > 0.5 * expected) return true;
    const double near = (derivative.side < 0 ? from : to) * 0x1p-10, other = derivative.side == 0 ? -near : near / 2;
    const double nearby = (claimed_along(direction, near) + claimed_along(direction, other)) / 2;
    return std::fabs(yours - nearby) >= 0.5 * std::fabs(error);
  }
  return false;
}

/// Directional derivative by the subject's own forward mode.
Derivative Judge::forward_mode(const Direction& direction) const {
  const Tensors& inputs = point_.line.inputs();
  const Tensor& input = inputs[input_];
  Numbers tangent(static_cast<std::size_t>(input.numel()), 0.0);
  for (std::int64_t e = direction.begin; e < direction.end; ++e)
    tangent[e] = direction.sign(e);
  Tensors tangents(inputs.size());
  tangents[input_] = from_values(input.shape(), tangent, input.dtype());
  const NoGradScope no_grad;
  const Tensors changes = point_.subject.tangent_of(inputs, tangents);
  Derivative derivative;
  double magnitude = 0;
  for (std::size_t k = 0; k < changes.size(); ++k) {
    if (!point_.cotangents[k].defined() || !changes[k].defined()) continue;
    const Numbers change = changes[k].to_vector<double>(), upstream = point_.cotangents[k].to_vector<double>();
    for (std::size_t e = 0; e < change.size(); ++e) {
      if (upstream[e] == 0) continue;  // left out, whatever it is
      derivative.value += change[e] * upstream[e];
      magnitude += std::fabs(change[e] * upstream[e]);
    }
  }
  derivative.bar = 16 * (input.dtype() == DType::f64 ? 0x1p-53 : 0x1p-24) * magnitude;
  derivative.conclusive = std::isfinite(derivative.value);
  return derivative;
}

/// Forward mode is believed only where differences do not contradict it. Where they are not sure themselves, as of a
/// forward that moves in stairs, they contradict nothing.
Derivative Judge::with_forward_mode(const Direction& direction, Derivative differences) {
  if (!is_exact_ || differences.at_kink) return differences;
  const bool is_independent = !point_.subject.own_process;  // an author's jvp may share the error of their backward
  const Derivative exact = forward_mode(direction);
  if (!exact.conclusive) return differences;
  const auto contradicts = [&](const Derivative& found) {
    return found.conclusive &&
           std::fabs(found.value - exact.value) > bars_allowed * (found.bar + exact.bar) + rounding(direction);
  };
  if (contradicts(differences)) {
    const Derivative all_steps = point_.line.derivative(direction, 0, Line::Effort::thorough);
    if (all_steps.at_kink) return all_steps;
    if (contradicts(all_steps)) {
      refuted_ = fmt::format("forward mode says {:.9g} where differences say {:.9g}: it is wrong, and not used", exact.value,
                             all_steps.value);
      is_exact_ = false;
      return all_steps;
    }
    if (all_steps.conclusive) differences = all_steps;
  }
  if (!is_independent || (differences.conclusive && !contradicts(differences) && exact.bar >= differences.bar)) return differences;
  Derivative better = differences;
  better.value = exact.value;
  better.bar = exact.bar;
  better.conclusive = true;
  better.constant = false;
  return better;
}

}  // namespace gradus::testing
