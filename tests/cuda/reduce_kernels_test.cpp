// Sums, means, variances and the search for what is not finite, beside plain loops in double and the kernels of the
// CPU.
#include "framework/kernels/cpu/reduce.h"
#include "framework/kernels/cuda/reduce.h"
#include "framework/tensor/creation.h"
#include "tests/cuda/axes_cases.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;
using cuda::ReducedAxes;

namespace {

template <class T>
std::vector<T> values_for(std::int64_t count) {
  if constexpr (std::is_same_v<T, std::int64_t>) {
    std::vector<T> values(count);
    for (T i = 0; i < count; ++i) values[i] = (i * 1000003 % 2000001 << 26) + i % 1000;  // no double holds their sums
    return values;
  } else {
    return normal_values<T>(count, 1);
  }
}

template <class T, class Out>
std::vector<Out> sums_of(const std::vector<T>& x, const ReducedAxes& axes, std::size_t results) {
  Buffer<T> on_device(x);
  Buffer<Out> y(results);
  Buffer<char> workspace(cuda::sum_workspace_bytes<T>(axes));
  cuda::sum<T, Out>(y.data(), on_device.data(), axes, workspace.data(), nullptr);
  return y.values();
}

/// A sum of n numbers in any order is off by at most (n - 1) roundings of the sum of magnitudes; the result is rounded
/// once more.
template <class T, class Out>
void check_sums(const AxesCase& c) {
  CAPTURE(to_string(c.shape));
  using Sum = Arithmetic<T>;
  const ReducedAxes axes = reduced_axes(c);
  const auto x = values_for<T>(c.shape.numel());
  const auto elements = elements_of_results(x, axes);
  const auto found = sums_of<T, Out>(x, axes, elements.size());
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if constexpr (std::is_same_v<T, std::int64_t>) {
      std::int64_t sum = 0;
      for (std::int64_t value : elements[i]) sum += value;
      CHECK(found[i] == sum);
    } else {
      double sum = 0, magnitudes = 0;
      for (T value : elements[i]) sum += double(value), magnitudes += std::fabs(double(value));
      const double bound = rounding_error<Sum> * elements[i].size() * magnitudes + rounding_error<Out> * std::fabs(sum);
      CHECK(is_close(double(found[i]), sum, bound));
    }
  }
}

template <class T>
void check_mean_and_variance(const AxesCase& c, double correction) {
  CAPTURE(to_string(c.shape));
  const ReducedAxes axes = reduced_axes(c);
  const auto x = values_for<T>(c.shape.numel());
  const auto elements = elements_of_results(x, axes);
  Buffer<T> on_device(x), means(elements.size()), variances(elements.size());
  Buffer<char> for_means(cuda::sum_workspace_bytes<T>(axes)), for_variances(cuda::variance_workspace_bytes(axes));
  cuda::mean<T>(means.data(), on_device.data(), axes, for_means.data(), nullptr);
  cuda::variance<T>(variances.data(), on_device.data(), axes, correction, for_variances.data(), nullptr);
  const auto found_means = means.values(), found_variances = variances.values();
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const double count = elements[i].size();
    double sum = 0, magnitudes = 0, squares = 0;
    for (T value : elements[i]) sum += double(value), magnitudes += std::fabs(double(value));
    for (T value : elements[i]) squares += (double(value) - sum / count) * (double(value) - sum / count);
    const double mean = sum / count, variance = squares / std::max(0.0, count - correction);
    CHECK(
        is_close(double(found_means[i]), mean,
                 rounding_error<Arithmetic<T>> * (magnitudes + std::fabs(mean)) + rounding_error<T> * std::fabs(mean)));
    // In double n squares are summed, of differences from a mean that is off by roundings of its own.
    CHECK(is_close(double(found_variances[i]), variance,
                   (rounding_error<T> + 8 * count * rounding_error<double>)*variance));
  }
}

template <class T, class Out>
void check_naive(const AxesCase& c) {
  const ReducedAxes axes = reduced_axes(c);
  std::vector<T> x(c.shape.numel());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = T(std::int64_t(i * 7 % 13) - 6);  // sums of few of these are exact
  Buffer<T> on_device(x);
  Buffer<Out> y(elements_of_results(x, axes).size());
  cuda::sum_naive<T, Out>(y.data(), on_device.data(), axes, nullptr);
  const auto naive = y.values();
  CHECK(are_same(naive, sums_of<T, Out>(x, axes, naive.size())));
}

/// x with each of the special values put at each of the places.
template <class T>
bool finds(std::vector<T> x, std::int64_t place, double value) {
  if (place >= 0) x[place] = T(value);
  Buffer<T> on_device(x);
  Buffer<std::int32_t> found(std::vector<std::int32_t>{0});
  cuda::find_not_finite<T>(found.data(), on_device.data(), x.size(), nullptr);
  const bool on_cpu =
      !cpu::all_finite(from_values({std::int64_t(x.size())}, std::vector<double>(x.begin(), x.end()), dtype_of<T>));
  CHECK(on_cpu == (found.values()[0] != 0));
  return found.values()[0] != 0;
}

template <class T>
void check_not_finite() {
  const double inf = std::numeric_limits<double>::infinity();
  for (std::int64_t count : {1, 33, 3000}) {
    const std::vector<T> x(count, T(std::is_same_v<T, double> ? 1e308 : 3e38));
    CHECK(!finds(x, -1, 0));
    for (double value : {inf, -inf, std::numeric_limits<double>::quiet_NaN()}) {
      for (std::int64_t place : {std::int64_t{0}, count / 2, count - 1}) CHECK(finds(x, place, value));
    }
  }
}

}  // namespace

TEST_CASE("sums over axes are within their roundings, in every dtype") {
  for (const AxesCase& c : axes_cases()) {
    check_sums<double, double>(c);
    check_sums<float, float>(c);
    check_sums<bfloat16, bfloat16>(c);
    check_sums<bfloat16, float>(c);
    check_sums<std::int64_t, std::int64_t>(c);
  }
}

TEST_CASE("sums come out under every schedule, by rows and by columns, with and without chunks") {
  for_each_schedule([] {
    for (const AxesCase& c : std::vector<AxesCase>{
             {{3, 31}, {1}}, {{2, 1000}, {1}}, {{1, 20011}, {1}}, {{200, 33}, {0}}, {{130, 64}, {0}}}) {
      check_sums<float, float>(c);
    }
  });
}

TEST_CASE("sums are those of the naive kernel where both are exact") {
  for (const AxesCase& c : axes_cases()) {
    check_naive<double, double>(c);
    check_naive<float, float>(c);
    check_naive<bfloat16, float>(c);
    check_naive<std::int64_t, std::int64_t>(c);
  }
}

TEST_CASE("the bits of a sum are the same wherever the tensor lies") {
  for (const Shape& shape : {Shape{3, 1000}, Shape{1, 20011}, Shape{200, 64}}) {
    for (int axis : {0, 1}) {
      const ReducedAxes axes = reduced_axes({shape, {axis}});
      const std::size_t results = shape[1 - axis];
      const auto x = normal_values<float>(shape.numel() + 1, 3);
      Buffer<float> on_device(x);
      Buffer<float> shifted(results);
      Buffer<char> workspace(cuda::sum_workspace_bytes<float>(axes));
      cuda::sum<float>(shifted.data(), on_device.data() + 1, axes, workspace.data(), nullptr);
      CHECK(are_same(shifted.values(), sums_of<float, float>({x.begin() + 1, x.end()}, axes, results)));
    }
  }
}

TEST_CASE("sums of stretched tensors, backwards and of nothing") {
  const std::vector<float> x = {1, 2, 4, 8, 16};
  Buffer<float> on_device(x), y(3);
  const ReducedAxes stretched{{3, 5}, {0, 1}, {false, true}}, backwards{{3, 2}, {-1, 2}, {false, true}};
  cuda::sum<float>(y.data(), on_device.data(), stretched, nullptr, nullptr);
  CHECK(y.values() == std::vector<float>{31, 31, 31});
  cuda::sum<float>(y.data(), on_device.data() + 2, backwards, nullptr, nullptr);
  CHECK(y.values() == std::vector<float>{20, 10, 5});
  const ReducedAxes of_nothing{{3, 0}, {0, 1}, {false, true}};
  cuda::sum<float>(y.data(), on_device.data(), of_nothing, nullptr, nullptr);
  CHECK(y.values() == std::vector<float>{0, 0, 0});
  cuda::mean<float>(y.data(), on_device.data(), of_nothing, nullptr, nullptr);
  for (float value : y.values()) CHECK(std::isnan(value));
}

TEST_CASE("not a number and infinities go through sums and variances") {
  const float inf = INFINITY, nan = NAN;
  Buffer<float> x(std::vector<float>{inf, 1, inf, -inf, nan, 0, -0.0f, -0.0f}), y(4);
  const ReducedAxes axes{{4, 2}, {2, 1}, {false, true}};
  cuda::sum<float>(y.data(), x.data(), axes, nullptr, nullptr);
  const auto sums = y.values();
  CHECK(sums[0] == inf);
  CHECK(std::isnan(sums[1]));
  CHECK(std::isnan(sums[2]));
  CHECK(sums[3] == 0);
  Buffer<char> workspace(cuda::variance_workspace_bytes(axes));
  cuda::variance<float>(y.data(), x.data(), axes, 1, workspace.data(), nullptr);
  const auto variances = y.values();
  for (int i : {0, 1, 2}) CHECK(std::isnan(variances[i]));
  CHECK(variances[3] == 0);
}

TEST_CASE("mean and variance over axes") {
  for (const AxesCase& c : axes_cases()) {
    check_mean_and_variance<double>(c, 1);
    check_mean_and_variance<float>(c, 0);
    check_mean_and_variance<bfloat16>(c, 1);
  }
}

TEST_CASE("mean and variance under every schedule") {
  for_each_schedule([] {
    check_mean_and_variance<float>({{3, 129}, {1}}, 1);
    check_mean_and_variance<float>({{1, 10007}, {1}}, 1);
    check_mean_and_variance<float>({{150, 33}, {0}}, 1);
  });
}

TEST_CASE("what is not finite is found at any place, and nothing else is") {
  check_not_finite<double>();
  check_not_finite<float>();
  check_not_finite<bfloat16>();
  Buffer<std::int32_t> found(std::vector<std::int32_t>{1});
  Buffer<float> x(std::vector<float>{1});
  cuda::find_not_finite<float>(found.data(), x.data(), 1, nullptr);
  CHECK(found.values()[0] == 1);  // what was found before stays
}
