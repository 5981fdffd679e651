#include "framework/kernels/cuda/emulation/grid.h"

#include <unistd.h>

#include <csignal>
#include <mutex>
#include <vector>

#include "framework/base/error.h"
#include "framework/kernels/cuda/emulation/block.h"
#include "framework/kernels/cuda/emulation/report.h"
#include "framework/kernels/cuda/emulation/sanitizers.h"
#include "framework/kernels/cuda/emulation/settings.h"
#include "framework/kernels/cuda/emulation/shared_memory.h"

namespace gradus::cuda::emulation {
namespace {

std::mutex one_launch;
thread_local bool in_launch = false;

/// What the machine knows of a launch while it runs.
class LaunchScope {
 public:
  LaunchScope(const char* kernel, const LaunchShape& shape, const ThreadBody& body) {
    in_launch = true;
    machine.kernel = kernel;
    machine.launched_at = shape.where;
    machine.body = &body;
    machine.error = nullptr;
  }
  ~LaunchScope() {
    sanitizers::acquire(&grid_tokens.left);
    end_block_memory();
    machine.current = nullptr;
    in_launch = false;
  }
  LaunchScope(const LaunchScope&) = delete;
  LaunchScope& operator=(const LaunchScope&) = delete;
};

/// Threads are kept from launch to launch: stacks and the sanitizer's fibers are costly. ThreadSanitizer sees the
/// threads of two blocks as different ones only if they are; so blocks take turns with two sets.
class ThreadPool {
 public:
  void fill(std::vector<Thread*>& threads, unsigned count, std::uint64_t turn, bool ordered) {
    auto& set = sets_[sanitizers::thread_sanitizer() && !ordered ? turn % 2 : 0];
    while (set.size() < count) set.push_back(std::make_unique<Thread>());
    threads.resize(count);
    for (unsigned i = 0; i < count; ++i) threads[i] = set[i].get();
  }

 private:
  std::vector<std::unique_ptr<Thread>> sets_[2];
};

void number_threads(const std::vector<Thread*>& threads, const dim3& block) {
  for (unsigned i = 0; i < threads.size(); ++i) {
    threads[i]->number = i;
    threads[i]->index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
  }
}

dim3 to_dim3(const Extent& extent) {
  return {static_cast<unsigned>(extent.x), static_cast<unsigned>(extent.y), static_cast<unsigned>(extent.z)};
}

/// A thread that leaves its stack by the guarded end stops the program; this says which, and of which kernel.
class StackGuard {
 public:
  StackGuard() {
    if (sanitizers::thread_sanitizer() || sanitizers::address_sanitizer()) return;  // they have their own
    static unsigned char handler_stack[64 * 1024];
    const stack_t stack = {.ss_sp = handler_stack, .ss_flags = 0, .ss_size = sizeof handler_stack};
    sigaltstack(&stack, &stack_before_);
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &before());
    installed_ = true;
  }
  ~StackGuard() {
    if (!installed_) return;
    sigaction(SIGSEGV, &before(), nullptr);
    sigaltstack(&stack_before_, nullptr);
  }
  StackGuard(const StackGuard&) = delete;
  StackGuard& operator=(const StackGuard&) = delete;

 private:
  static struct sigaction& before() {
    static struct sigaction action;
    return action;
  }
  static void on_fault(int, siginfo_t* info, void*) {
    sigaction(SIGSEGV, &before(), nullptr);  // the faulting instruction runs again, and ends the program as ever
    if (!machine.current || !machine.current->fiber.guards(info->si_addr)) return;
    const std::string text = sentence(fmt::format("the stack of {} KiB overflows; launched", fiber_stack_bytes / 1024),
                                      machine.launched_at) +
                             "\n";
    if (write(STDERR_FILENO, text.data(), text.size()) < 0) _exit(1);
  }

  stack_t stack_before_ = {};
  bool installed_ = false;
};

void run_blocks(const LaunchShape& shape, const std::vector<std::uint64_t>& order, Schedule& schedule) {
  static ThreadPool pool;
  const auto count = static_cast<unsigned>(shape.threads.x * shape.threads.y * shape.threads.z);
  const bool ordered = settings().ordered_blocks;
  std::uint64_t turn = 0;
  for (const std::uint64_t block : order) {
    pool.fill(machine.threads, count, turn++, ordered);
    number_threads(machine.threads, indices.threads);
    indices.block = {static_cast<unsigned>(block % indices.blocks.x),
                     static_cast<unsigned>(block / indices.blocks.x % indices.blocks.y),
                     static_cast<unsigned>(block / indices.blocks.x / indices.blocks.y)};
    begin_block_memory(shape.shared_bytes);
    run_block(schedule);
    if (ordered) {
      sanitizers::acquire(&grid_tokens.left);
      sanitizers::release(&grid_tokens.launched);
    }
  }
}

}  // namespace

void run_grid(const char* kernel, const LaunchShape& shape, const ThreadBody& body) {
  if (in_launch) misuse("a kernel launches another one, which only some devices can", shape.where);
  const std::scoped_lock lock(one_launch);
  const LaunchScope scope(kernel, shape, body);
  const StackGuard guard;
  indices.blocks = to_dim3(shape.blocks);
  indices.threads = to_dim3(shape.threads);
  Schedule schedule(settings().schedule);
  std::vector<std::uint64_t> order;
  schedule.order(order, static_cast<std::uint64_t>(shape.blocks.x * shape.blocks.y * shape.blocks.z));
  sanitizers::release(&grid_tokens.launched);
  run_blocks(shape, order, schedule);
}

}  // namespace gradus::cuda::emulation
