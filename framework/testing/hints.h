// The likely cause of a wrong gradient: hypotheses that must explain the whole difference within the error bars, here
// and at other points.
#pragma once

#include <functional>
#include <optional>

#include "framework/testing/gradcheck.h"
#include "framework/testing/line.h"

namespace gradus::testing {

/// The gradient of one input, every element singly, at any point, judged as at the first.
using JudgeElsewhere =
    std::function<InputReport(Line& line, const Tensors& cotangents, const Tensors& gradients, std::size_t input)>;

/// What explains a gradient that the report calls wrong. Nothing where no hypothesis is sure: a wrong hint is worse
/// than none.
std::optional<Hint> find_hint(const Subject& subject, Line& line, const Tensors& cotangents, const Tensors& gradients,
                              const CheckReport& report, const JudgeElsewhere& judge);

/// A broken promise as the cause, in more words where more can be told; nothing where the gradient is wrong at this
/// point whatever was called before, so that another cause is to be looked for.
std::optional<Hint> hint_of_broken_promise(const Subject& subject, Line& line, const Tensors& cotangents,
                                           const Tensors& gradients, const CheckReport& report,
                                           const ContractReport& contract);

}  // namespace gradus::testing
