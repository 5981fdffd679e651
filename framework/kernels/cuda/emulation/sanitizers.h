// What the emulation tells the sanitizers. The functions are theirs, and null in a program built without them: one
// build of the emulation serves kernels with and without sanitizers. It must not itself be instrumented for threads.
#pragma once

#include <cstddef>

extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, std::size_t bytes);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, std::size_t* bytes);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void* memory, std::size_t bytes);
__attribute__((weak)) void* __tsan_get_current_fiber();
__attribute__((weak)) void* __tsan_create_fiber(unsigned flags);
__attribute__((weak)) void __tsan_switch_to_fiber(void* fiber, unsigned flags);
__attribute__((weak)) void __tsan_acquire(void* token);
__attribute__((weak)) void __tsan_release(void* token);
__attribute__((weak)) void __tsan_java_init(unsigned long heap, unsigned long bytes);
__attribute__((weak)) void __tsan_java_alloc(unsigned long memory, unsigned long bytes);
__attribute__((weak)) void AnnotateIgnoreReadsBegin(const char* file, int line);
__attribute__((weak)) void AnnotateIgnoreReadsEnd(const char* file, int line);
__attribute__((weak)) void AnnotateIgnoreWritesBegin(const char* file, int line);
__attribute__((weak)) void AnnotateIgnoreWritesEnd(const char* file, int line);
}

namespace gradus::cuda::emulation::sanitizers {

inline bool thread_sanitizer() { return &__tsan_create_fiber != nullptr; }
inline bool address_sanitizer() { return &__sanitizer_start_switch_fiber != nullptr && !thread_sanitizer(); }

/// What one thread did before its release of a token happened before what another does after its acquire.
inline void release(void* token) {
  if (thread_sanitizer()) __tsan_release(token);
}
inline void acquire(void* token) {
  if (thread_sanitizer()) __tsan_acquire(token);
}

/// While it lives, ThreadSanitizer sees no access of this thread, and memory allocated counts as touched by none: for
/// the emulation's own books, which all threads of a kernel share.
class UnseenScope {
 public:
  UnseenScope() {
    if (!thread_sanitizer()) return;
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~UnseenScope() {
    if (!thread_sanitizer()) return;
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  UnseenScope(const UnseenScope&) = delete;
  UnseenScope& operator=(const UnseenScope&) = delete;
};

}  // namespace gradus::cuda::emulation::sanitizers
