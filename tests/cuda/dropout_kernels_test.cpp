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

using cuda::DropoutMask;

/// With a residual where it is not empty.
template <class T>
std::vector<T> dropped_by_cpu(const std::vector<T>& x, const std::vector<T>& residual, const DropoutMask& mask) {
  std::vector<std::uint32_t> words(cpu::DropoutMask::room(x.size()));
  std::vector<T> y(x.size());
  const cpu::DropoutMask of_cpu(mask.probability, mask.seed, mask.stream);
  if (residual.empty()) of_cpu.drop(x.data(), 0, x.size(), words.data(), y.data());
  else of_cpu.add(residual.data(), x.data(), 0, x.size(), words.data(), y.data());
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

/// Both kernels, alone and with a residual, from and to memory `offset` elements behind an aligned address.
template <class T>
void check_as_on_cpu(const std::vector<T>& x, const DropoutMask& mask, std::size_t offset = 0) {
  CAPTURE(x.size());
  const auto shifted = [offset](std::vector<T> values) {
    values.insert(values.begin(), offset, T());
    return values;
  };
  for (const std::vector<T>& residual : {std::vector<T>(), normal_values<T>(x.size(), 9)}) {
    const std::vector<T> expected = dropped_by_cpu(x, residual, mask);
    for (const auto kernel : {cuda::dropout<T>, cuda::dropout_naive<T>}) {
      Buffer<T> from(shifted(x)), direct(shifted(residual)), to(shifted(x));
      kernel(to.data() + offset, from.data() + offset, residual.empty() ? nullptr : direct.data() + offset, x.size(),
             mask, nullptr);
      CHECK(same_elements(to.values().data() + offset, expected));
    }
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
  const std::vector<float> expected = dropped_by_cpu(x, {}, {0.2, 3, 4});
  Buffer<std::uint64_t> offset(std::vector<std::uint64_t>{3});
  for (const auto kernel : {cuda::dropout<float>, cuda::dropout_naive<float>}) {
    Buffer<float> values(x);
    kernel(values.data(), values.data(), nullptr, x.size(), {0.2, 3, 1, offset.data()}, nullptr);
    CHECK(are_same(values.values(), expected));
  }
}

TEST_CASE("dropout: in place, of what is dropped and of the residual") {
  const std::vector<float> x = normal_values<float>(130, 5), residual = normal_values<float>(130, 6);
  const DropoutMask mask = {0.2, 3, 4};
  Buffer<float> values(x);
  cuda::dropout<float>(values.data(), values.data(), nullptr, x.size(), mask, nullptr);
  CHECK(are_same(values.values(), dropped_by_cpu(x, {}, mask)));
  Buffer<float> update(x), sums(residual);
  cuda::dropout<float>(sums.data(), update.data(), sums.data(), x.size(), mask, nullptr);
  CHECK(are_same(sums.values(), dropped_by_cpu(x, residual, mask)));
}
