// Softmax and its logarithm, forward and backward, beside plain loops in double.
#include <algorithm>

#include "framework/kernels/cuda/softmax.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;

namespace {

enum class Version { naive, fast, in_place };

/// Of x, which starts `shift` elements after an aligned address.
template <class T>
std::vector<T> forward(std::vector<T> x, std::size_t n, bool logarithm, Version version = Version::fast,
                       std::size_t shift = 0) {
  const std::size_t rows = x.size() / n;
  x.insert(x.begin(), shift, T(0.0f));
  Buffer<T> from(x), other(x);
  Buffer<T>& to = version == Version::in_place ? from : other;
  (version == Version::naive ? cuda::softmax_forward_naive<T> : cuda::softmax_forward<T>)(from.data() + shift,
                                                                                          to.data() + shift, rows, n,
                                                                                          logarithm, nullptr);
  auto y = to.values();
  y.erase(y.begin(), y.begin() + shift);
  return y;
}

template <class T>
std::vector<T> backward(const std::vector<T>& y, const std::vector<T>& g, std::size_t n, bool logarithm,
                        Version version = Version::fast) {
  Buffer<T> from(y), up(g), other(y.size());
  Buffer<T>& to = version == Version::in_place ? up : other;
  (version == Version::naive ? cuda::softmax_backward_naive<T> : cuda::softmax_backward<T>)(from.data(), up.data(),
                                                                                            to.data(), y.size() / n, n,
                                                                                            logarithm, nullptr);
  return to.values();
}

/// e^z has a relative error of four roundings, and |z| more because z = x - largest is rounded.
template <class T>
void check_forward(const std::vector<T>& x, std::size_t n, bool logarithm, Version version) {
  const auto found = forward(x, n, logarithm, version);
  const double u = rounding_error<Arithmetic<T>>;
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < x.size() / n; ++row) {
    const T* from = x.data() + row * n;
    double largest = double(from[0]), least = largest, sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      largest = std::max(largest, double(from[i]));
      least = std::min(least, double(from[i]));
    }
    for (std::size_t i = 0; i < n; ++i) sum += std::exp(double(from[i]) - largest);
    const double off_sum = (n + 4 + largest - least) * u;  // relative
    for (std::size_t i = 0; i < n; ++i) {
      const double z = double(from[i]) - largest, y = logarithm ? z - std::log(sum) : std::exp(z) / sum;
      const double off =
          logarithm ? off_sum + 3 * u * (std::fabs(z) + std::log(sum)) : y * (off_sum + (7 + std::fabs(z)) * u);
      wrong += !is_close(double(found[row * n + i]), y, off + rounding_error<T> * std::fabs(y));
    }
  }
  CHECK(wrong == 0);
}

template <class T>
void check_backward(const std::vector<T>& y, std::size_t n, bool logarithm, Version version) {
  const auto g = normal_values<T>(y.size(), 2);
  const auto found = backward(y, g, n, logarithm, version);
  const double u = rounding_error<Arithmetic<T>>;
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < y.size() / n; ++row) {
    double sum = 0, magnitudes = 0;
    for (std::size_t i = row * n; i < (row + 1) * n; ++i) {
      const double term = double(g[i]) * (logarithm ? 1 : double(y[i]));
      sum += term, magnitudes += std::fabs(term);
    }
    for (std::size_t i = row * n; i < (row + 1) * n; ++i) {
      const double p = logarithm ? std::exp(double(y[i])) : double(y[i]), up = double(g[i]);
      const double dx = logarithm ? up - p * sum : p * (up - sum);
      const double off = p * (n + 8) * u * magnitudes + 3 * u * std::fabs(up);
      wrong += !is_close(double(found[i]), dx, off + rounding_error<T> * std::fabs(dx));
    }
  }
  CHECK(wrong == 0);
}

template <class T>
void check(std::size_t rows, std::size_t n, Version version = Version::fast) {
  CAPTURE(rows);
  CAPTURE(n);
  for (bool logarithm : {false, true}) {
    CAPTURE(logarithm);
    const auto x = normal_values<T>(rows * n, 1);
    check_forward(x, n, logarithm, version);
    check_backward(forward(x, n, logarithm), n, logarithm, version);
  }
}

template <class T>
void check_all_lengths() {
  for (std::size_t n : {1, 2, 31, 33, 127, 128, 129, 256, 257, 1000, 1024, 1025, 1032}) check<T>(3, n);
  for (std::size_t rows : {1, 8, 9}) check<T>(rows, 40);
  for (std::size_t n : {1, 33, 300}) check<T>(5, n, Version::naive);
  for (std::size_t n : {33, 264, 1028}) check<T>(2, n, Version::in_place);
}

}  // namespace

TEST_CASE("softmax of rows of every kind of length, in every dtype") {
  check_all_lengths<double>();
  check_all_lengths<float>();
  check_all_lengths<bfloat16>();
}

TEST_CASE("more rows than warps of a softmax") {
  const auto x = normal_values<float>((8 * 1024 + 3) * 2, 1);
  check_forward(x, 2, false, Version::fast);
  check_backward(x, 2, true, Version::fast);
}

TEST_CASE("the bits of a softmax are the same under every schedule, wherever x lies") {
  for (std::size_t n : {35, 64, 264, 1028}) {
    CAPTURE(n);
    const auto x = normal_values<float>(3 * n, 1);
    for (bool logarithm : {false, true}) {
      const auto y = forward(x, n, logarithm), dx = backward(y, x, n, logarithm);
      for_each_schedule([&] {
        CHECK(are_same(forward(x, n, logarithm), y));
        CHECK(are_same(backward(y, x, n, logarithm), dx));
      });
      CHECK(are_same(forward(x, n, logarithm, Version::fast, 1), y));
    }
  }
}

TEST_CASE("softmax of masked rows, and of rows that have none") {
  const float inf = INFINITY, nan = NAN;
  for (Version version : {Version::naive, Version::fast}) {
    for (std::size_t n : {3, 1025}) {
      std::vector<float> x(6 * n, -inf);
      const auto set = [&](std::size_t row, std::size_t i, float value) { x[row * n + i] = value; };
      set(0, 0, 1e4f), set(0, n - 1, 1e4f);
      set(1, n - 1, -2);
      set(3, 0, nan), set(3, 1, 0);
      set(4, 1, inf), set(4, 2, 0);
      set(5, 0, 0), set(5, n - 1, nan);
      const auto y = forward(x, n, false, version), log_y = forward(x, n, true, version);
      for (std::size_t i = 0; i < n; ++i) {
        const bool ends = i == 0 || i == n - 1;
        CHECK(y[i] == (ends ? 0.5f : 0.0f));
        CHECK(log_y[i] == (ends ? -std::log(2.0f) : -inf));
        CHECK(y[n + i] == (i == n - 1 ? 1.0f : 0.0f));
        CHECK(log_y[n + i] == (i == n - 1 ? 0.0f : -inf));
        for (std::size_t row : {2, 3, 4, 5}) {
          CHECK(std::isnan(y[row * n + i]));
          CHECK(std::isnan(log_y[row * n + i]));
        }
      }
    }
  }
}

TEST_CASE("softmax of nothing") {
  for (bool logarithm : {false, true}) {
    cuda::softmax_forward<float>(nullptr, nullptr, 0, 3, logarithm, nullptr);
    cuda::softmax_forward<float>(nullptr, nullptr, 3, 0, logarithm, nullptr);
    cuda::softmax_backward<float>(nullptr, nullptr, nullptr, 0, 3, logarithm, nullptr);
    cuda::softmax_backward<float>(nullptr, nullptr, nullptr, 3, 0, logarithm, nullptr);
    cuda::softmax_forward_naive<float>(nullptr, nullptr, 0, 3, logarithm, nullptr);
    cuda::softmax_backward_naive<float>(nullptr, nullptr, nullptr, 3, 0, logarithm, nullptr);
    cuda::synchronize(nullptr);
  }
}
