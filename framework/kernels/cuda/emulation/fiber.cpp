#include "framework/kernels/cuda/emulation/fiber.h"

#include <sys/mman.h>

#include <cstdlib>

#include "framework/base/error.h"
#include "framework/kernels/cuda/emulation/context.h"
#include "framework/kernels/cuda/emulation/sanitizers.h"

namespace gradus::cuda::emulation {
namespace {

constexpr std::size_t guard_bytes = 4096;
constexpr unsigned without_synchronisation = 1;  // a switch is no ordering between threads of the kernel

/// The host side: what resume() was called on.
struct Host {
  StackContext context{};
  const void* stack = nullptr;
  std::size_t stack_bytes = 0;
  void* thread_sanitizer_fiber = nullptr;
};
Host host;
Fiber* current = nullptr;

}  // namespace

struct Fiber::Context {
  StackContext context{};
  void (*function)() = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer's
};

Fiber::Fiber() : context_(std::make_unique<Context>()) {
  void* memory = mmap(nullptr, guard_bytes + fiber_stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("[cuda emulation] no memory for the stack of a thread");
  mprotect(memory, guard_bytes, PROT_NONE);
  stack_ = static_cast<unsigned char*>(memory) + guard_bytes;
  if (sanitizers::thread_sanitizer()) thread_sanitizer_fiber_ = __tsan_create_fiber(0);
}

Fiber::~Fiber() { munmap(stack_ - guard_bytes, guard_bytes + fiber_stack_bytes); }

bool Fiber::guards(const void* address) const {
  const auto* byte = static_cast<const unsigned char*>(address);
  return byte >= stack_ - guard_bytes && byte < stack_;
}

void Fiber::start(void (*function)()) {
  if (sanitizers::address_sanitizer()) __asan_unpoison_memory_region(stack_, fiber_stack_bytes);  // frames never left
  context_->function = function;
  start_on_stack(context_->context, stack_, fiber_stack_bytes, &Fiber::enter);
}

void Fiber::enter() {
  if (sanitizers::address_sanitizer()) __sanitizer_finish_switch_fiber(nullptr, &host.stack, &host.stack_bytes);
  current->context_->function();
  std::abort();  // the function did not end with finish()
}

void Fiber::resume() {
  current = this;
  void* fake_stack = nullptr;
  if (sanitizers::thread_sanitizer()) {
    host.thread_sanitizer_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(thread_sanitizer_fiber_, without_synchronisation);
  }
  if (sanitizers::address_sanitizer()) __sanitizer_start_switch_fiber(&fake_stack, stack_, fiber_stack_bytes);
  switch_context(host.context, context_->context);
  if (sanitizers::address_sanitizer()) __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

void Fiber::leave(bool for_good) {
  Context& context = *current->context_;
  if (sanitizers::thread_sanitizer()) __tsan_switch_to_fiber(host.thread_sanitizer_fiber, without_synchronisation);
  if (sanitizers::address_sanitizer()) {
    __sanitizer_start_switch_fiber(for_good ? nullptr : &context.fake_stack, host.stack, host.stack_bytes);
  }
  switch_context(context.context, host.context);
  if (sanitizers::address_sanitizer()) __sanitizer_finish_switch_fiber(context.fake_stack, nullptr, nullptr);
}

void Fiber::suspend() { leave(false); }

void Fiber::finish() {
  leave(true);
  std::abort();  // a finished fiber is never resumed
}

}  // namespace gradus::cuda::emulation
