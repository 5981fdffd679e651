#include "framework/kernels/cuda/emulation/block.h"

#include <utility>

#include "framework/kernels/cuda/emulation/report.h"
#include "framework/kernels/cuda/emulation/sanitizers.h"

namespace gradus::cuda::emulation {

Machine machine;
Indices indices;
GridTokens grid_tokens;

namespace {

/// The life of one thread.
void thread_life() {
  sanitizers::acquire(&grid_tokens.launched);
  try {
    machine.body->run();
  } catch (...) {
    if (!machine.error) machine.error = std::current_exception();
  }
  sanitizers::release(&grid_tokens.left);
  machine.current->finished = true;
  ++machine.finished;
  Fiber::finish();
}

void prepare(Thread& thread) {
  thread.finished = false;
  thread.waiting_at = nullptr;
  thread.copies.clear();
  thread.committed_batches = 0;
  thread.fiber.start(thread_life);
}

void run(Thread& thread) {
  machine.current = &thread;
  indices.thread = thread.index;
  thread.waiting_at = nullptr;
  thread.fiber.resume();
  if (machine.error) std::rethrow_exception(std::exchange(machine.error, nullptr));
}

/// Passes over the warp's lanes until none can move. True if one moved.
bool run_warp(unsigned warp, Schedule& schedule) {
  static std::vector<unsigned> lanes;
  const auto threads = static_cast<unsigned>(machine.threads.size());
  bool moved = false;
  for (bool again = true; again && !(moved && schedule.leaves_warp_early());) {
    again = false;
    schedule.order(lanes, 32u);
    for (const unsigned lane : lanes) {
      const unsigned number = 32 * warp + lane;
      if (number >= threads || !machine.threads[number]->may_run()) continue;
      run(*machine.threads[number]);
      again = moved = true;
    }
  }
  return moved;
}

}  // namespace

void run_block(Schedule& schedule) {
  static std::vector<unsigned> warps;
  const auto threads = static_cast<unsigned>(machine.threads.size());
  machine.block_barrier = {};
  machine.block_barrier.expected = threads;
  machine.finished = 0;
  machine.warps.resize((threads + 31) / 32);
  for (Warp& warp : machine.warps) warp.groups_in_use = 0;
  for (Thread* thread : machine.threads) prepare(*thread);
  while (machine.finished < threads) {
    bool moved = false;
    schedule.order(warps, (threads + 31) / 32);
    for (const unsigned warp : warps) moved = run_warp(warp, schedule) || moved;
    if (!moved) report_stuck();
  }
}

}  // namespace gradus::cuda::emulation
