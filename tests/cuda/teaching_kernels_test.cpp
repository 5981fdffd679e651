// The teaching kernels against plain loops. The same source is the test of the emulation, under several schedules, and
// that of a device.
#include "tests/cuda/teaching_kernels.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "tests/cuda/buffer.h"
#include "tests/cuda/schedules.h"

using namespace gradus;
using namespace gradus::cuda;

namespace {

template <class T = float>
std::vector<T> random_values(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> values(count);
  for (T& value : values) value = T(uniform(random));
  return values;
}

/// c (m,n) = a (m,k) b (k,n) in double; `b_at(k, j)` says how b lies.
template <class T, class Element>
std::vector<double> product(const std::vector<T>& a, const Element& b_at, std::size_t m, std::size_t n, std::size_t k) {
  std::vector<double> c(m * n, 0);
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t l = 0; l < k; ++l) c[i * n + j] += double(a[i * k + l]) * b_at(l, j);
    }
  }
  return c;
}

double largest_difference(const std::vector<float>& a, const std::vector<double>& b) {
  double largest = 0;
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::fabs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference;  // a NaN stays
  }
  return largest;
}

template <class T>
void check_sums_of_rows(std::size_t rows, std::size_t width) {
  const auto x = random_values<T>(rows * width, 1);
  Buffer<T> on_device(x), sums(rows);
  teaching::sum_rows<T>(sums.data(), on_device.data(), rows, width, nullptr);
  const auto found = sums.values();
  for (std::size_t row = 0; row < rows; ++row) {
    const double expected = std::accumulate(x.begin() + row * width, x.begin() + (row + 1) * width, 0.0);
    CHECK(std::fabs(found[row] - expected) <= 4 * width * std::numeric_limits<T>::epsilon());
  }
}

}  // namespace

TEST_CASE("a loop in strides of the grid") {
  for_each_schedule([] {
    const std::size_t n = 1203;
    const auto x = random_values(n, 1), y = random_values(n, 2);
    Buffer<float> on_device_x(x), on_device_y(y);
    teaching::add_scaled(on_device_y.data(), 2, on_device_x.data(), n, nullptr);
    const auto found = on_device_y.values();
    for (std::size_t i = 0; i < n; ++i) CHECK(found[i] == 2 * x[i] + y[i]);
  });
}

TEST_CASE("the sum of a row by a block, in two types") {
  for_each_schedule([] {
    check_sums_of_rows<float>(3, 300);
    check_sums_of_rows<double>(2, 77);
  });
}

TEST_CASE("the maximum of a row by a warp") {
  for_each_schedule([] {
    const std::size_t rows = 7, width = 45;
    const auto x = random_values(rows * width, 3);
    Buffer<float> on_device(x), maxima(rows);
    teaching::maximum_of_rows(maxima.data(), on_device.data(), rows, width, nullptr);
    const auto found = maxima.values();
    for (std::size_t row = 0; row < rows; ++row) {
      CHECK(found[row] == *std::max_element(x.begin() + row * width, x.begin() + (row + 1) * width));
    }
  });
}

TEST_CASE("transposition through shared memory") {
  for_each_schedule([] {
    const std::size_t rows = 37, columns = 21;
    const auto x = random_values(rows * columns, 4);
    Buffer<float> on_device(x), y(rows * columns);
    teaching::transpose(y.data(), on_device.data(), rows, columns, nullptr);
    const auto found = y.values();
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) CHECK(found[j * rows + i] == x[i * columns + j]);
    }
  });
}

TEST_CASE("a histogram by atomics") {
  for_each_schedule([] {
    const int bins = 17;
    std::vector<int> x(1000), expected(bins);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<int>(i * i % bins);
      ++expected[x[i]];
    }
    Buffer<int> on_device(x), counts(std::vector<int>(bins, 0));
    teaching::histogram(counts.data(), bins, on_device.data(), x.size(), nullptr);
    CHECK(counts.values() == expected);
  });
}

TEST_CASE("a product on tensor cores in bf16") {
  for_each_schedule([] {
    const std::size_t m = 64, n = 32, k = 48;
    const auto a = random_values<bfloat16>(m * k, 5), b = random_values<bfloat16>(n * k, 6);
    Buffer<bfloat16> on_device_a(a), on_device_b(b);
    Buffer<float> c(m * n);
    teaching::bf16_product(c.data(), on_device_a.data(), on_device_b.data(), m, n, k, nullptr);
    const auto expected = product(
        a, [&](std::size_t l, std::size_t j) { return double(b[j * k + l]); }, m, n, k);
    CHECK(largest_difference(c.values(), expected) < 1e-5);
  });
}

TEST_CASE("a product on tensor cores in TF32") {
  for_each_schedule([] {
    const std::size_t m = 32, n = 24, k = 40;
    const auto a = random_values(m * k, 7), b = random_values(k * n, 8);
    Buffer<float> on_device_a(a), on_device_b(b), c(m * n);
    teaching::tf32_product(c.data(), on_device_a.data(), on_device_b.data(), m, n, k, nullptr);
    const auto expected = product(
        a, [&](std::size_t l, std::size_t j) { return double(b[l * n + j]); }, m, n, k);
    const double difference = largest_difference(c.values(), expected);
    CHECK(difference < k * std::ldexp(1.0, -10));  // each factor is rounded to 11 bits
    CHECK(difference > 1e-6);                      // and is rounded: f32 would come closer
  });
}

TEST_CASE("work in streams, each in its order") {
  for_each_schedule([] {
    const std::size_t n = 300;
    const std::vector<float> ones(n, 1);
    const Stream stream = create_stream();
    {
      Buffer<float> x(ones), y(ones);
      fill_bytes(y.data(), 0, n * sizeof(float), stream);
      teaching::add_scaled(y.data(), 3, x.data(), n, stream);
      teaching::add_scaled(x.data(), 2, y.data(), n, stream);
      CHECK(x.values(stream) == std::vector<float>(n, 7));
    }
    destroy_stream(stream);
  });
}
