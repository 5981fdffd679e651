// What a gradient must keep whatever its values are.
#pragma once

#include "framework/testing/gradcheck.h"
#include "framework/testing/line.h"

namespace gradus::testing {

/// Checks every contract at one point. `gradients` are the claimed ones there, for `cotangents`.
std::vector<ContractReport> check_contracts(const Subject& subject, Line& line, const Tensors& cotangents,
                                            const Tensors& gradients, const CheckOptions& options);

}  // namespace gradus::testing
