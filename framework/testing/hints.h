// The likely cause of a wrong gradient: hypotheses that must explain the whole difference within the error bars.
#pragma once

#include <optional>

#include "framework/testing/gradcheck.h"
#include "framework/testing/line.h"

namespace gradus::testing {

/// Looks for what explains the wrong gradient of `inputs[i]` in the report, whose elements were all checked singly.
/// Nothing where no hypothesis fits: a wrong hint is worse than none.
std::optional<Hint> find_hint(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
                              const CheckReport& report, std::size_t report_input, std::size_t input);

}  // namespace gradus::testing
