// Dropout against the CPU's: the same bits.
#include "framework/kernels/cuda/dropout.h"

#include <doctest/doctest.h>

#include <limits>

#include "framework/kernels/cpu/random_words.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;

namespace {

struct Draw {
  double probability;
  std::uint64_t seed, stream;
};

template <class T>
std::vector<T> dropped_by_cpu(const std::vector<T>& x, const Draw& draw) {
  std::vector<std::uint32_t> words(x.size() + 32);
  cpu::random_words(draw.seed, draw.stream, 0, x.size(), words.data());
  std::vector<T> y(x.size());
  cpu::drop(x.data(), words.data(), x.size(), random::dropout_threshold(draw.probability),
            Arithmetic<T>(1 / (1 - draw.probability)), y.data());
  return y;
}

/// The same bits, but any NaN for a NaN: a device has its own.
template <class T>
bool same_elements(const T* found, const std::vector<T>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(double(expected[i])) ? !std::isnan(double(found[i]))
                                        : std::memcmp(&found[i], &expected[i], sizeof(T)) != 0) {
      return false;
    }
  }
  return true;
}

/// Both kernels, from and to memory `offset` elements behind an aligned address.
template <class T>
void check_as_on_cpu(const std::vector<T>& x, const Draw& draw, std::size_t offset = 0) {
  CAPTURE(x.size());
  const std::vector<T> expected = dropped_by_cpu(x, draw);
  std::vector<T> shifted(offset);
  shifted.insert(shifted.end(), x.begin(), x.end());
  for (const auto kernel : {cuda::dropout<T>, cuda::dropout_naive<T>}) {
    Buffer<T> from(shifted), to(shifted);
    kernel(to.data() + offset, from.data() + offset, x.size(), draw.probability, draw.seed, draw.stream, nullptr,
           nullptr);
    CHECK(same_elements(to.values().data() + offset, expected));
  }
}

template <class T>
void check_type() {
  for (const std::size_t n : {0, 1, 3, 4, 5, 31, 127, 1000}) check_as_on_cpu(normal_values<T>(n, 1), {0.3, 7, 2});
  check_as_on_cpu(normal_values<T>(77, 2), {0.5, 1ull << 40, 3ull << 50}, 1);
  check_as_on_cpu(normal_values<T>(9, 3), {0, 1, 2});
  const double infinity = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  check_as_on_cpu(std::vector<T>{T(0.0), T(-0.0), T(infinity), T(-infinity), T(infinity), T(nan), T(1e-30)},
                  {0.5, 1, 1});
}

}  // namespace

TEST_CASE("dropout: the CPU's bits, in each type") {
  for_each_schedule([] {
    check_type<double>();
    check_type<float>();
    check_type<bfloat16>();
  });
}

TEST_CASE("dropout: more elements than threads of the grid") {
  check_as_on_cpu(normal_values<float>(4 * 2048 * 256 + 6, 4), {0.1, 5, 6});
}

TEST_CASE("dropout: a part of the stream's number from the device") {
  const std::vector<float> x = normal_values<float>(130, 5);
  const std::vector<float> expected = dropped_by_cpu(x, Draw{0.2, 3, 4});
  Buffer<std::uint64_t> offset(std::vector<std::uint64_t>{3});
  for (const auto kernel : {cuda::dropout<float>, cuda::dropout_naive<float>}) {
    Buffer<float> values(x);
    kernel(values.data(), values.data(), x.size(), 0.2, 3, 1, offset.data(), nullptr);
    CHECK(are_same(values.values(), expected));
  }
}

TEST_CASE("dropout: in place") {
  const std::vector<float> x = normal_values<float>(130, 5);
  const Draw draw = {0.2, 3, 4};
  Buffer<float> values(x);
  cuda::dropout(values.data(), values.data(), x.size(), draw.probability, draw.seed, draw.stream, nullptr, nullptr);
  CHECK(are_same(values.values(), dropped_by_cpu(x, draw)));
}
