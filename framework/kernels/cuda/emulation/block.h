// The block that runs: its threads, the barriers they wait at, and the order in which they are taken up.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "framework/kernels/cuda/emulation/collectives.h"
#include "framework/kernels/cuda/emulation/fiber.h"
#include "framework/kernels/cuda/emulation/grid.h"
#include "framework/kernels/cuda/emulation/language.h"
#include "framework/kernels/cuda/emulation/schedule.h"

namespace gradus::cuda::emulation {

/// Threads wait until all that are expected have arrived; then the generation moves on.
struct Barrier {
  std::uint64_t generation = 0;
  unsigned expected = 0;
  unsigned arrived = 0;
  Site first_site{};  // of this generation's first arrival
  Collective first_kind{};
  char tokens[2] = {};  // for ThreadSanitizer: this generation's arrivals and the next one's apart
};

/// Lanes that synchronise under one mask. There are two sets of slots: a lane can be one collective ahead of the
/// others, not two, so the parity of the generation keeps the sets apart.
struct LaneGroup {
  std::uint32_t mask = 0;
  Barrier barrier;
  alignas(slot_bytes) unsigned char slots[2][32][slot_bytes];
};

struct Warp {
  std::vector<std::unique_ptr<LaneGroup>> groups;  // kept from block to block
  std::size_t groups_in_use = 0;
};

/// A copy that has been asked for and has not arrived.
struct PendingCopy {
  void* to;
  const void* from;
  std::size_t bytes;
  int batch;
};

struct Thread {
  Fiber fiber;
  uint3 index{};
  unsigned number = 0;  // in the block
  bool finished = false;
  const Barrier* waiting_at = nullptr;  // null: it may run
  std::uint64_t waiting_since = 0;      // the generation that it waits to see pass
  Collective waiting_in{};
  Site waiting_site{};
  std::vector<PendingCopy> copies;
  int committed_batches = 0;

  bool may_run() const { return !finished && (!waiting_at || waiting_at->generation != waiting_since); }
};

/// All that is known of the launch and the block that run. One launch runs at a time.
struct Machine {
  const char* kernel = nullptr;  // as check_launch() takes it
  Site launched_at{};
  const ThreadBody* body = nullptr;
  std::vector<Thread*> threads;  // of the block
  std::vector<Warp> warps;
  Barrier block_barrier;
  Thread* current = nullptr;
  unsigned finished = 0;
  std::exception_ptr error;
};
extern Machine machine;

/// Runs the block of `indices.block` to its end.
void run_block(Schedule& schedule);

/// Ordering for ThreadSanitizer: what the host did before a launch, and what all threads did before its end, also if they
/// were left waiting.
struct GridTokens {
  char launched = 0, left = 0;
};
extern GridTokens grid_tokens;

}  // namespace gradus::cuda::emulation
