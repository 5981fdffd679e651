// Rotary position embedding beside plain loops in double.
#include "framework/kernels/cuda/rotary.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;

namespace {

/// x (outer positions heads, 2 pairs), all arrays `shift` elements after an aligned address; in place for the fast kernel.
template <class T>
void check(std::size_t outer, std::size_t positions, std::size_t heads, std::size_t pairs, bool back, std::size_t shift = 0) {
  using A = Arithmetic<T>;
  const std::size_t rows = outer * positions * heads, elements = 2 * rows * pairs;
  const std::vector<T> x = normal_values<T>(elements + shift, 1);
  const std::vector<A> cosines = normal_values<A>(positions * pairs, 2), sines = normal_values<A>(positions * pairs, 3);
  Buffer<A> c(cosines), s(sines);
  Buffer<T> from(x), naive(x), fast(x);
  cuda::rotary_naive(from.data() + shift, c.data(), s.data(), naive.data() + shift, rows, positions, heads, pairs, back, nullptr);
  cuda::rotary(fast.data() + shift, c.data(), s.data(), fast.data() + shift, rows, positions, heads, pairs, back, nullptr);
  cuda::synchronize(nullptr);
  const std::vector<T> by_naive = naive.values(), by_fast = fast.values();
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < elements; i += 2) {
    const std::size_t row = i / (2 * pairs), angle = row / heads % positions * pairs + i % (2 * pairs) / 2;
    const double a(x[shift + i]), b(x[shift + i + 1]), cosine = cosines[angle], sine = back ? -sines[angle] : sines[angle];
    const double first = a * cosine - b * sine, second = a * sine + b * cosine;
    const double off = 3 * rounding_error<A> * (std::fabs(a) + std::fabs(b)) * (std::fabs(cosine) + std::fabs(sine));
    for (const T* y : {by_naive.data(), by_fast.data()}) {
      wrong += !is_close(double(y[shift + i]), first, off + rounding_error<T> * std::fabs(first));
      wrong += !is_close(double(y[shift + i + 1]), second, off + rounding_error<T> * std::fabs(second));
    }
  }
  CHECK(wrong == 0);
}

template <class T>
void check_type() {
  for (const bool back : {false, true}) {
    check<T>(2, 5, 3, 4, back);
    check<T>(1, 7, 1, 1, back);
    check<T>(3, 4, 2, 16, back, 1);
    check<T>(0, 4, 2, 16, back);
  }
}

}  // namespace

TEST_CASE("rotary embedding, forward and back, in each type") {
  for_each_schedule([] {
    check_type<double>();
    check_type<float>();
    check_type<bfloat16>();
  });
}

TEST_CASE("rotary embedding of more pairs than threads of the grid") { check<float>(1, 2050, 16, 17, false); }
