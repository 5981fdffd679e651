// What waits in the emulation's streams.
#pragma once

#include <functional>

#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda::emulation {

/// Runs it now, or when the stream is synchronised (settings.h).
void submit(Stream stream, std::function<void()> job);

}  // namespace gradus::cuda::emulation
