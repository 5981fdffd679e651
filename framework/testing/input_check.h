// The gradient that is claimed for one input, against derivatives of the function: single elements, or sums along
// random signs where there are many.
#pragma once

#include "framework/testing/gradcheck.h"
#include "framework/testing/judge.h"

namespace gradus::testing {

/// Judges the gradient claimed for one input; undefined: zero. `own_rounding`: how far each of its elements may be off
/// because it is itself rounded, one number each. A verdict `agree` means that the same check rejects this gradient once it is damaged.
InputReport check_input(const CheckedPoint& point, std::size_t input, const Tensor& gradient,
                        const Numbers& own_rounding);

}  // namespace gradus::testing
