// The largest elements beside a plain loop.
#include "framework/kernels/cuda/extremes.h"
#include "tests/cuda/axes_cases.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;
using cuda::ReducedAxes;

namespace {

template <class T>
std::size_t index_of_largest(const std::vector<T>& elements) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (std::isnan(double(elements[i]))) return i;
    if (double(elements[i]) > double(elements[best])) best = i;
  }
  return best;
}

template <class T>
void check_largest(const std::vector<T>& x, const ReducedAxes& axes) {
  CAPTURE(to_string(axes.shape));
  const auto elements = elements_of_results(x, axes);
  Buffer<T> on_device(x), values(elements.size());
  Buffer<std::int64_t> indices(elements.size());
  Buffer<char> workspace(cuda::largest_workspace_bytes<T>(axes));
  cuda::largest<T>(values.data(), indices.data(), on_device.data(), axes, workspace.data(), nullptr);
  std::vector<T> expected_values;
  std::vector<std::int64_t> expected_indices;
  for (const auto& of_result : elements) {
    expected_indices.push_back(index_of_largest(of_result));
    expected_values.push_back(of_result[expected_indices.back()]);
  }
  CHECK(indices.values() == expected_indices);
  CHECK(are_same(values.values(), expected_values));
}

/// Few different values, so that the largest one comes often; some NaN among them if `nans`.
template <class T>
std::vector<T> values_with_ties(std::size_t count, bool nans) {
  std::mt19937 random(4);
  std::vector<T> values(count);
  for (T& value : values) {
    value = T(double(random() % 5) - 4);
    if (nans && random() % 50 == 0) value = T(NAN);
  }
  return values;
}

template <class T>
void check_cases(const std::vector<AxesCase>& cases) {
  for (const AxesCase& c : cases) {
    const auto count = c.shape.numel();
    check_largest<T>(normal_values<T>(count, 5), reduced_axes(c));
    for (bool nans : {false, true}) check_largest<T>(values_with_ties<T>(count, nans), reduced_axes(c));
  }
}

}  // namespace

TEST_CASE("the largest element, the first of equals, the first NaN before all") {
  check_cases<double>(axes_cases());
  check_cases<float>(axes_cases());
  check_cases<bfloat16>(axes_cases());
}

TEST_CASE("the largest element under every schedule") {
  for_each_schedule([] { check_cases<float>({{{3, 129}, {1}}, {{1, 9001}, {1}}, {{150, 33}, {0}}}); });
}

TEST_CASE("the largest of infinities and of zeros of both signs") {
  const float inf = INFINITY, nan = NAN;
  check_largest<float>({nan, inf, 1, -inf, -inf, -inf, 2, 2, 1, -0.0f, 0, -1, -inf, nan, nan},
                       {{5, 3}, {3, 1}, {false, true}});
}

TEST_CASE("the index alone") {
  Buffer<float> x(std::vector<float>{1, 3, 2, 5, 4, 0});
  Buffer<std::int64_t> indices(2);
  cuda::largest<float>(nullptr, indices.data(), x.data(), {{2, 3}, {3, 1}, {false, true}}, nullptr, nullptr);
  CHECK(indices.values() == std::vector<std::int64_t>{1, 0});
}
