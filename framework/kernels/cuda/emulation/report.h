// The sentences that a kernel's misuse of the language ends in.
#pragma once

#include <string>
#include <string_view>

#include "framework/kernels/cuda/emulation/collectives.h"

namespace gradus::cuda::emulation {

std::string_view to_string(Collective collective);

/// `[kernel softmax<float>] <what>, at file:line, block (0,0,0), thread (5,0,0)`.
std::string sentence(std::string_view what, Site site);

/// Throws ContractError with that sentence, out of the running thread.
[[noreturn]] void misuse(std::string_view what, Site site);

/// Throws ContractError: no thread of the block can go on.
[[noreturn]] void report_stuck();

}  // namespace gradus::cuda::emulation
