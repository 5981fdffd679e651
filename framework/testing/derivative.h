// The derivative of a function of one number by differences that choose their own step and say how sure they are.
//
// Two Richardson (Neville) tableaus of central differences, from unrelated first steps, must agree; the bar comes from the
// spread inside the tableau and from the measured noise of the function (difference tables on nearly equal points: J. Moré
// and S. Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 2011). What rests on one scale of steps alone is
// doubted: step_sweep.h looks at all of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace gradus::testing {

/// The function at one displacement t from the point in question.
struct Evaluation {
  double value = 0;      ///< f(t) - f(0), taken before anything is summed up, so that large constants cancel
  double magnitude = 0;  ///< sum of the absolute terms of `value`: what its rounding is relative to
  double moved = 0;      ///< the displacement that rounding left of t
  double size = 0;       ///< of the terms of f that differ from those at 0, root of the sum of squares
  double quantum = 0;    ///< rounding unit of those terms; what cannot be resolved at all
  double unit_at_0 = 0;  ///< rounding unit of what those terms are at 0: also where they do not differ by a bit
  bool valid = true;     ///< finite, and on the same branch of the function as at 0; `value` is NaN outside its domain
};
using Curve = std::function<Evaluation(double t)>;

struct DerivativeOptions {
  double scale = 1;           ///< size of the argument: the first step is an eighth of it
  double noise_step = 0;      ///< spacing of the points on which noise is measured; 0: 2^-46 of the scale
  double smallest_step = 0;   ///< what the argument's rounding leaves of a smaller one is nothing; 0: 2^-50 of the scale
  double good_enough = 0;     ///< stop where the bar is below this; 0: below 1e-10 of the derivative
  double output_quantum = 0;  ///< rounding unit of all of f: what could hide in a function that never changes
  double noise = 0;           ///< of one evaluation, where it is known; 0: it is measured
  enum class Effort {
    quick,     ///< one ladder: a guide, not a judgement
    normal,    ///< two ladders that must agree
    thorough,  ///< steps of every size, twice: as before an accusation
  } effort = Effort::normal;
};

struct Derivative {
  double value = 0, bar = 0;  ///< |value - true derivative| <= bar, as far as can be told
  bool conclusive = false;    ///< the ladders agree
  bool constant = false;      ///< the function did not change by a bit, however far the point was moved
  bool at_kink = false;       ///< left and right slope differ: value is their mean, bar reaches both
  double left = 0, right = 0, side_bar = 0;  ///< slopes where at_kink
  double noise = 0;           ///< of one evaluation
  double step = 0;            ///< the function is smooth as far as this, as far as is known
  int side = 0;               ///< +1, -1: on that side alone, as at the edge of a domain
  double stair = 0;           ///< the function moves in steps of this height; 0: it does not, or nobody looked
  int evaluations = 0;
};

Derivative differentiate(const Curve& curve, const DerivativeOptions& options);

/// Error of the central difference at each step, against `expected`: the U-shaped curve that --explain draws.
struct StepError {
  double step, error;
};
std::vector<StepError> error_by_step(const Curve& curve, double scale, double expected);

}  // namespace gradus::testing
