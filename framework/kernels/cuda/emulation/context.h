// Leaving one stack for another. On x86-64 that is a dozen instructions; elsewhere ucontext does it, ten times slower.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) || defined(GRADUS_EMULATION_UCONTEXT)
#include <ucontext.h>

namespace gradus::cuda::emulation {

using StackContext = ucontext_t;

inline void start_on_stack(StackContext& context, unsigned char* stack, std::size_t bytes, void (*function)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = bytes;
  context.uc_link = nullptr;
  makecontext(&context, function, 0);
}

inline void switch_context(StackContext& from, StackContext& to) { swapcontext(&from, &to); }

}  // namespace gradus::cuda::emulation

#else

namespace gradus::cuda::emulation {

using StackContext = void*;  // its stack pointer, at the saved registers

/// Saves the registers that a call keeps on this stack, changes to the other one, and restores them from there.
__attribute__((naked, noinline)) inline void switch_stack(void** /*from*/, void* /*to*/) {
  __asm__ volatile(
      "pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n\t"
      "movq %rsp, (%rdi)\n\t"
      "movq %rsi, %rsp\n\t"
      "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp\n\t"
      "ret");
}

inline void start_on_stack(StackContext& context, unsigned char* stack, std::size_t bytes, void (*function)()) {
  auto** top = reinterpret_cast<void**>(stack + bytes);
  *--top = nullptr;                              // no caller; aligns the stack as a call would
  *--top = reinterpret_cast<void*>(function);    // where switch_stack returns to
  for (int i = 0; i < 6; ++i) *--top = nullptr;  // the saved registers
  context = top;
}

inline void switch_context(StackContext& from, StackContext& to) { switch_stack(&from, to); }

}  // namespace gradus::cuda::emulation

#endif
