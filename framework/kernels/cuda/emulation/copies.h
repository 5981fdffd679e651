// asynchronous_copy.h in the emulation.
#pragma once

#include <cstddef>

#include "framework/kernels/cuda/emulation/collectives.h"

namespace gradus::cuda::emulation {

void ask_for_copy(void* to, const void* from, std::size_t bytes, Site site = Site::current());
void commit_copies();
void wait_for_copies(int batches_under_way);

}  // namespace gradus::cuda::emulation
