#include "framework/kernels/cpu/denormals.h"

#include "framework/kernels/cpu/parallel.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace gradus::cpu {
namespace {

#if defined(__SSE2__)
constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x0040, both = flush_to_zero | denormals_are_zero;

void set_on_all_threads(unsigned bits) {
  const auto set = [bits] { _mm_setcsr((_mm_getcsr() & ~both) | bits); };
  set();
#pragma omp parallel num_threads(thread_count())
  set();
}
#endif

}  // namespace

#if defined(__SSE2__)
FlushDenormals::FlushDenormals() : before_(_mm_getcsr() & both) { set_on_all_threads(both); }
FlushDenormals::~FlushDenormals() { set_on_all_threads(before_); }
#else
FlushDenormals::FlushDenormals() : before_(0) {}
FlushDenormals::~FlushDenormals() {}
#endif

}  // namespace gradus::cpu
