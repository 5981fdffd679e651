// Cross-entropy, forward and backward, beside plain loops in double and the op on the CPU.
#include <algorithm>

#include "framework/autograd/autograd.h"
#include "framework/kernels/cuda/cross_entropy.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;

namespace {

using Classes = std::vector<std::int64_t>;

template <class T>
struct Results {
  using A = Arithmetic<T>;
  A loss;
  std::int64_t counted;
  std::vector<A> log_sums;
  std::vector<T> gradient;

  bool operator==(const Results& other) const {
    return are_same<A>({loss}, {other.loss}) && counted == other.counted && are_same(log_sums, other.log_sums) &&
           are_same(gradient, other.gradient);
  }
};

enum class Version { naive, fast, in_place };

template <class T>
Results<T> run(const std::vector<T>& logits, const Classes& targets, std::int64_t ignored, Arithmetic<T> cotangent,
               Version version = Version::fast) {
  using A = Arithmetic<T>;
  const std::size_t rows = targets.size(), classes = rows ? logits.size() / rows : 3;
  Buffer<T> x(logits), other(logits.size());
  Buffer<T>& gradient = version == Version::in_place ? x : other;
  Buffer<std::int64_t> target(targets), counted(1);
  Buffer<A> loss(1), log_sums(rows), g(std::vector<A>{cotangent});
  Buffer<double> partials(cuda::cross_entropy_partials(rows));
  if (version == Version::naive) {
    cuda::cross_entropy_forward_naive(x.data(), target.data(), ignored, loss.data(), log_sums.data(), counted.data(),
                                      rows, classes, nullptr);
    cuda::cross_entropy_backward_naive(x.data(), target.data(), ignored, log_sums.data(), counted.data(), g.data(),
                                       gradient.data(), rows, classes, nullptr);
  } else {
    cuda::cross_entropy_forward(x.data(), target.data(), ignored, loss.data(), log_sums.data(), counted.data(),
                                partials.data(), rows, classes, nullptr);
    cuda::cross_entropy_backward(x.data(), target.data(), ignored, log_sums.data(), counted.data(), g.data(),
                                 gradient.data(), rows, classes, nullptr);
  }
  return {loss.values()[0], counted.values()[0], log_sums.values(), gradient.values()};
}

/// A fifth of the rows is ignored.
Classes some_targets(std::size_t rows, std::size_t classes, std::int64_t ignored) {
  Classes targets(rows);
  for (std::size_t row = 0; row < rows; ++row) targets[row] = row % 5 == 3 ? ignored : (row * row + 2) % classes;
  return targets;
}

/// e^z has a relative error of four roundings, and |z| more because z is a rounded difference.
template <class T>
void check(std::size_t rows, std::size_t classes, Version version = Version::fast) {
  CAPTURE(rows);
  CAPTURE(classes);
  const std::int64_t ignored = -100;
  const double u = rounding_error<Arithmetic<T>>, cotangent = 1.7;
  const auto logits = normal_values<T>(rows * classes, 1);
  const Classes targets = some_targets(rows, classes, ignored);
  const auto found = run(logits, targets, ignored, Arithmetic<T>(cotangent), version);
  CHECK(found.counted == std::count_if(targets.begin(), targets.end(), [&](auto target) { return target != ignored; }));
  double total = 0, off_total = 0;
  std::size_t wrong = 0;
  const double weight = Arithmetic<T>(cotangent) / double(found.counted);
  for (std::size_t row = 0; row < rows; ++row) {
    const T* x = logits.data() + row * classes;
    const T* slopes = found.gradient.data() + row * classes;
    if (targets[row] == ignored) {
      wrong += found.log_sums[row] != 0;
      wrong += std::count_if(slopes, slopes + classes, [](T slope) { return double(slope) != 0; });
      continue;
    }
    double largest = double(x[0]), least = largest, sum = 0;
    for (std::size_t i = 0; i < classes; ++i)
      largest = std::max(largest, double(x[i])), least = std::min(least, double(x[i]));
    for (std::size_t i = 0; i < classes; ++i) sum += std::exp(double(x[i]) - largest);
    const double log_sum = largest + std::log(sum);
    const double off = u * (classes + 6 + largest - least + 3 * (std::fabs(largest) + std::log(sum)));
    wrong += !is_close(found.log_sums[row], log_sum, off);
    total += log_sum - double(x[targets[row]]);
    off_total += off;
    for (std::size_t i = 0; i < classes; ++i) {
      const bool is_target = static_cast<std::int64_t>(i) == targets[row];
      const double z = double(x[i]) - found.log_sums[row], slope = weight * (std::exp(z) - is_target);
      const double off_slope = u * weight * (std::exp(z) * (7 + std::fabs(z)) + 2 * is_target);
      wrong += !is_close(double(slopes[i]), slope, off_slope + rounding_error<T> * std::fabs(slope));
    }
  }
  CHECK(wrong == 0);
  const double loss = total / found.counted;
  CHECK(is_close(found.loss, loss, off_total / found.counted + 2 * u * std::fabs(loss)));
}

template <class T>
void check_all_numbers_of_classes() {
  for (std::size_t classes : {1, 2, 31, 33, 127, 128, 129, 256, 257, 1000, 1024, 1025, 1032}) check<T>(5, classes);
  for (std::size_t rows : {1, 8, 9, 67}) check<T>(rows, 40);
  for (std::size_t classes : {1, 33, 300}) check<T>(7, classes, Version::naive);
  for (std::size_t classes : {33, 264, 1028}) check<T>(4, classes, Version::in_place);
}

}  // namespace

TEST_CASE("cross-entropy of any number of classes, in every dtype") {
  check_all_numbers_of_classes<double>();
  check_all_numbers_of_classes<float>();
  check_all_numbers_of_classes<bfloat16>();
}

TEST_CASE("cross-entropy of more rows than warps") { check<float>(8 * 1024 + 3, 2); }

TEST_CASE("the bits of a cross-entropy are the same under every schedule") {
  for (std::size_t classes : {35, 64, 264, 1028}) {
    const auto logits = normal_values<float>(19 * classes, 1);
    const Classes targets = some_targets(19, classes, 0);
    const auto first = run(logits, targets, 0, 1.0f);
    for_each_schedule([&] { CHECK(run(logits, targets, 0, 1.0f) == first); });
  }
}

TEST_CASE("cross-entropy of large, impossible and ignored rows is that of the CPU") {
  const double inf = INFINITY, nan = NAN;
  struct Case {
    std::vector<double> logits;
    Classes targets;
    std::int64_t ignored;
  };
  for (const Case& c : std::vector<Case>{{{1000, 990, 0, -1000, 1e4, 1e4}, {0, 2}, -100},
                                         {{-inf, 0, 0, 1}, {1, 0}, -100},
                                         {{-inf, 0}, {0}, -100},
                                         {{-inf, -inf, 0, 1}, {0, 1}, -100},
                                         {{1, 2, 3, 4}, {0, 0}, 0},
                                         {{nan, 0, 0, 1}, {0, 1}, 0},
                                         {{0, nan, 0, 1}, {0, 1}, -100},
                                         {{inf, 0, 0, 1}, {1, 1}, -100}}) {
    const std::int64_t rows = c.targets.size(), classes = c.logits.size() / rows;
    const Tensor logits = from_values({rows, classes}, c.logits, DType::f64);
    logits.set_requires_grad(true);
    const Tensor loss = cross_entropy(logits, from_values({rows}, c.targets), c.ignored);
    const auto slopes = grad({loss}, {logits})[0].to_vector<double>();
    for (Version version : {Version::naive, Version::fast}) {
      const auto found = run(c.logits, c.targets, c.ignored, 1.0, version);
      CHECK(is_close(found.loss, loss.item(), 1e-15 * std::fabs(loss.item())));
      for (std::size_t i = 0; i < slopes.size(); ++i) CHECK(is_close(found.gradient[i], slopes[i], 1e-15));
    }
  }
}

TEST_CASE("cross-entropy of no rows is not a number") {
  for (Version version : {Version::naive, Version::fast}) {
    const auto found = run(std::vector<float>{}, {}, -100, 1.0f, version);
    CHECK(std::isnan(found.loss));
    CHECK(found.counted == 0);
  }
}
