// A launch in the emulation: blocks run one after another, and the threads of a block as fibers.
#pragma once

#include <memory>

#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda::emulation {

/// What every thread of a launch runs.
class ThreadBody {
 public:
  virtual ~ThreadBody() = default;
  virtual void run() const = 0;
};

/// Checks the launch, then runs it, or queues it where streams are deferred (settings.h).
void launch(const char* kernel, const LaunchShape& shape, std::unique_ptr<ThreadBody> body);

/// Runs all threads of all blocks. A misuse by the kernel throws ContractError.
void run_grid(const char* kernel, const LaunchShape& shape, const ThreadBody& body);

}  // namespace gradus::cuda::emulation
