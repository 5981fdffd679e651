// The derivative by steps of every size, from the argument's own down to its rounding: what an accusation rests on.
//
// Small steps blur (rounding divided by the step), large ones may see something else (another branch, a wave, an offset
// that hides the scale on which the function changes). So the smallest are believed first, and larger ones sharpen what
// is known for as long as they agree with it.
#pragma once

#include "framework/testing/derivative.h"

namespace gradus::testing {

/// `noise`: of one evaluation, as measured. Finds kinks at the point itself, and stairs: a function whose values lie on
/// steps is known to their height only.
Derivative sweep_steps(const Curve& curve, const DerivativeOptions& options, double noise);

/// Height of the largest jump within a quarter of the scale that is a small part of the value: how far the function's
/// values may be off where it is smooth, as a solver's that stops early.
double largest_jump_nearby(const Curve& curve, double scale);

}  // namespace gradus::testing
