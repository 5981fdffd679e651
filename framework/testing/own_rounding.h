// How far a claimed gradient is off because it is itself rounded: what no check may call wrong.
#pragma once

#include <vector>

#include "framework/testing/line.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {

/// By input and element. Seen from what last-bit changes of the inputs, the upstream gradients and (where backward is
/// given them) the outputs do to the gradient, as far as the conditioning of the gradient explains it: larger changes
/// must do as much more. What is left is the author's own rounding, to single precision say, and is none of it.
std::vector<Numbers> own_rounding(const Subject& subject, const Line& line, const Tensors& cotangents,
                                  const Tensors& gradients, std::uint64_t seed);

/// Unit roundoff of the gradient that is claimed for an input.
double unit_of_gradient(const Subject& subject, const Tensor& input);

}  // namespace gradus::testing
