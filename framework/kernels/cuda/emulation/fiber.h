// A function that can be left in its middle and taken up again there, on a stack of its own.
#pragma once

#include <cstddef>
#include <memory>

namespace gradus::cuda::emulation {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// The next resume() calls `function` from its start; whatever it was in the middle of is forgotten. `function` must
  /// end with finish().
  void start(void (*function)());
  /// From the host: runs on until suspend() or finish().
  void resume();
  /// From a fiber: back to the host's resume().
  static void suspend();
  [[noreturn]] static void finish();

  /// Whether the address lies in the guarded end of this fiber's stack.
  bool guards(const void* address) const;

 private:
  struct Context;

  static void enter();
  static void leave(bool for_good);

  unsigned char* stack_ = nullptr;
  std::unique_ptr<Context> context_;
  void* thread_sanitizer_fiber_ = nullptr;
};

inline constexpr std::size_t fiber_stack_bytes = 256 * 1024;

}  // namespace gradus::cuda::emulation
