// What a gradient must keep whatever its values are.
#pragma once

#include "framework/testing/judge.h"

namespace gradus::testing {

/// Checks the contracts at one point, as far as the first that is broken. `gradients` are the claimed ones there, `own_rounding` how far they may be off.
std::vector<ContractReport> check_contracts(const CheckedPoint& point, const Tensors& gradients,
                                            const std::vector<Numbers>& own_rounding);

}  // namespace gradus::testing
