// tensor_core.h in the emulation.
#pragma once

#include <cstdint>

#include "framework/kernels/cuda/emulation/collectives.h"
#include "framework/kernels/cuda/emulation/language.h"

namespace gradus::cuda::emulation {

void multiply_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                   Site site = Site::current());
void multiply_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                   Site site = Site::current());
std::uint32_t to_tf32(float value);
/// `row` has been read by the kernel's own code, so that sanitizers see it.
void load_matrices(std::uint32_t (&registers)[4], const uint4& row, bool transposed, Site site = Site::current());

}  // namespace gradus::cuda::emulation
