// Numbers far out: slopes that must not cancel, and squares that must not overflow.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "framework/autograd/autograd.h"
#include "framework/ops/ops.h"

using namespace gradus;

namespace {

using Op = std::function<Tensor(const Tensor&)>;
using Exact = std::function<long double(long double)>;

struct Function {
  const char* name;
  Op op;
  Exact slope;
  Exact roundings;  ///< on the way to the slope, by x
};

long double logistic(long double x) { return 1 / (1 + std::exp(-x)); }
long double logistic_slope(long double x) {
  const long double e = std::exp(-std::fabs(x));
  return e / ((1 + e) * (1 + e));
}

/// gelu_tanh is x logistic(v).
const long double s = 2 * std::sqrt(2 / std::acos(-1.0L)), cubic = 0.044715L;
long double v_of(long double x) { return s * (x + cubic * x * x * x); }

std::vector<Function> functions_that_saturate() {
  const auto tanh_slope = [](long double x) { return 4 * logistic_slope(2 * x); };
  const auto gelu_slope = [](long double x) {
    return logistic(v_of(x)) + x * logistic_slope(v_of(x)) * s * (1 + 3 * cubic * x * x);
  };
  // A rounding error of v, relative, is one of |v| in e^v.
  return {{"sigmoid", [](const Tensor& x) { return sigmoid(x); }, logistic_slope, [](long double) { return 8; }},
          {"tanh", [](const Tensor& x) { return tanh(x); }, tanh_slope, [](long double) { return 14; }},
          {"gelu_tanh", [](const Tensor& x) { return gelu_tanh(x); }, gelu_slope,
           [](long double x) { return 30 + 6 * std::fabs(v_of(x)); }}};
}

std::vector<double> slopes(const Op& op, const std::vector<double>& points, DType dtype) {
  const Tensor x = from_values({static_cast<std::int64_t>(points.size())}, points, dtype).set_requires_grad();
  backward(op(x), ones_like(x));
  return x.gradient().to_vector<double>();
}

/// Within the function's roundings of the exact slope, relative, and one of the dtype; below the normal range, within
/// two of its smallest numbers.
void check_slopes(const Function& function, const std::vector<double>& points, DType dtype) {
  const bool wide = dtype == DType::f64;
  const double u = wide ? 0x1p-53 : 0x1p-24, u_of_dtype = dtype == DType::bf16 ? 0x1p-8 : 0;
  const double smallest = wide ? 0x1p-1074 : dtype == DType::f32 ? 0x1p-149 : 0x1p-133;
  const std::vector<double> found = slopes(function.op, points, dtype);
  for (std::size_t i = 0; i < points.size(); ++i) {
    CAPTURE(function.name);
    CAPTURE(to_string(dtype));
    CAPTURE(points[i]);
    const double exact = static_cast<double>(function.slope(points[i]));
    const double relative = u * static_cast<double>(function.roundings(points[i])) + u_of_dtype;
    CHECK(std::fabs(found[i] - exact) <= std::max(relative * std::fabs(exact), 2 * smallest));
  }
}

}  // namespace

TEST_CASE("slopes of what saturates are right to a few roundings, however far out") {
  // All of them bf16.
  const std::vector<double> points = {0, 0.125, -0.5, 1, -3, 8, -9.5, 16.75, 20, -20, 36, 50, -50, 80, -80, 87};
  for (const Function& function : functions_that_saturate()) {
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) check_slopes(function, points, dtype);
    check_slopes(function, {40, -40, 300, -300, 700, -700, 709}, DType::f64);
  }
  const std::vector<double> at_20 = slopes([](const Tensor& x) { return sigmoid(x); }, {20}, DType::f32);
  CHECK(at_20[0] == doctest::Approx(2.0611536e-9).epsilon(1e-6).scale(0));
}

TEST_CASE("at infinity they are 0, or 1, and NaN stays NaN") {
  const double inf = std::numeric_limits<double>::infinity();
  for (const Function& function : functions_that_saturate()) {
    for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
      CAPTURE(function.name);
      const bool grows = function.name == std::string("gelu_tanh");
      const std::vector<double> found = slopes(function.op, {inf, -inf, NAN, 1e30, -1e30}, dtype);
      CHECK(found[0] == (grows ? 1 : 0));
      CHECK(found[1] == 0);
      CHECK(std::isnan(found[2]));
      CHECK(found[3] == (grows ? 1 : 0));
      CHECK(found[4] == 0);
    }
  }
}

TEST_CASE("second derivatives of sigmoid and tanh do not cancel either") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = from_values({4}, std::vector<double>{12, -12, 20, -20}, dtype).set_requires_grad();
    const auto second = [&](const Tensor& y) {
      const Tensor first = grad({y}, {x}, {ones_like(y)}, {.create_graph = true})[0];
      return grad({first}, {x}, {ones_like(first)})[0].to_vector<double>();
    };
    const std::vector<double> points = x.to_vector<double>(), of_sigmoid = second(sigmoid(x)),
                              of_tanh = second(tanh(x));
    for (std::size_t i = 0; i < points.size(); ++i) {
      const double s = static_cast<double>(logistic_slope(points[i])),
                   t = static_cast<double>(4 * logistic_slope(2 * points[i]));
      CHECK(of_sigmoid[i] ==
            doctest::Approx(s * (1 - 2 * static_cast<double>(logistic(points[i])))).epsilon(1e-5).scale(0));
      CHECK(of_tanh[i] == doctest::Approx(-2 * std::tanh(points[i]) * t).epsilon(1e-5).scale(0));
    }
  }
}

TEST_CASE("gelu_tanh keeps its left tail") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const std::vector<double> points = {-4, -5.5, -6.5},
                              found = gelu_tanh(from_values({3}, points, dtype)).to_vector<double>();
    for (std::size_t i = 0; i < points.size(); ++i) {
      const long double x = points[i];
      CHECK(found[i] == doctest::Approx(static_cast<double>(x * logistic(v_of(x)))).epsilon(1e-5).scale(0));
    }
  }
}

namespace {

struct Normed {
  std::vector<double> y, dx, dgain, dbias;
};

/// Layer norm of `rows` times `factor`, and its gradients for one cotangent.
Normed normed(const Tensor& rows, double factor, double epsilon, DType dtype, bool of_a_sum) {
  Generator generator(9);
  const std::int64_t n = rows.size(1);
  const Tensor g = random_normal(rows.shape(), generator, dtype);
  const Tensor gain = random_normal({n}, generator, dtype).set_requires_grad(),
               bias = random_normal({n}, generator, dtype).set_requires_grad();
  const Tensor x = cast(rows * factor, dtype).set_requires_grad();
  const Tensor y =
      of_a_sum ? dropout_add_layer_norm(x, zeros_like(x), gain, bias, epsilon).out : layer_norm(x, gain, bias, epsilon);
  backward(y, g);
  return {y.to_vector<double>(), x.gradient().to_vector<double>(), gain.gradient().to_vector<double>(),
          bias.gradient().to_vector<double>()};
}

void check_close(const std::vector<double>& found, std::vector<double> expected, double factor, double relative) {
  double largest = 0;
  for (double& value : expected) largest = std::max(largest, std::fabs(value *= factor));
  REQUIRE(largest > 0);
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(std::fabs(found[i] - expected[i]) <= relative * largest);
}

}  // namespace

TEST_CASE("layer norm of rows whose squares overflow or underflow is that of the same rows in another unit") {
  Generator generator(3);
  const Tensor rows = random_normal({5, 37}, generator, DType::f64);
  for (const bool of_a_sum : {false, true}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      CAPTURE(of_a_sum);
      CAPTURE(to_string(dtype));
      const bool wide = dtype == DType::f64;
      const double relative = wide ? 1e-13 : 1e-5;
      const Normed expected = normed(rows, 1, 0, DType::f64, of_a_sum);
      // Powers of two, so that f64 sees the same rows; without epsilon, which means nothing to the large ones.
      for (const int exponent : wide ? std::vector<int>{40, 505, 513, 700, 1015, -505, -540, -700}
                                     : std::vector<int>{20, 62, 66, 90, 120, -55, -66, -80}) {
        CAPTURE(exponent);
        const double factor = std::ldexp(1.0, exponent);
        const Tensor narrow = cast(cast(rows, dtype), DType::f64);
        const Normed found = normed(narrow, factor, exponent > 0 ? 1e-5 : 0, dtype, of_a_sum);
        const double looser = exponent > 30 || exponent < 0 ? relative : 1e-5;
        check_close(found.y, expected.y, 1, looser);
        check_close(found.dx, expected.dx, 1 / factor, 10 * looser);
        check_close(found.dgain, expected.dgain, 1, 10 * looser);
        check_close(found.dbias, expected.dbias, 1, looser);
      }
    }
  }
}

TEST_CASE("layer norm up to the largest numbers, and bf16") {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    const double huge = dtype == DType::f64 ? 1.7e308 : 3.3e38;
    const Tensor x = from_values({2, 4}, std::vector<double>{huge, huge, huge, -huge, 1, 1, 1, -1}, dtype);
    const Tensor y = layer_norm(x, ones({4}, dtype), zeros({4}, dtype));
    const std::vector<double> values = y.to_vector<double>();
    for (std::size_t i = 0; i < 8; ++i)
      CHECK(values[i] == doctest::Approx(i % 4 == 3 ? -std::sqrt(3) : std::sqrt(1.0 / 3)).epsilon(0.01).scale(0));
  }
}

TEST_CASE("rows that are not finite stay NaN, and a constant row is the bias") {
  const Tensor x = from_values({3, 2}, std::vector<double>{INFINITY, 1.0, NAN, 1.0, 7.0, 7.0});
  const std::vector<double> y =
      layer_norm(x, ones({2}), from_values({2}, std::vector<double>{0.25, 0.5})).to_vector<double>();
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::isnan(y[i]));
  CHECK(y[4] == 0.25);
  CHECK(y[5] == 0.5);
}

TEST_CASE("the global norm of gradients whose squares overflow") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const double huge = dtype == DType::f64 ? 1e200 : 1e30;
    const Tensors gradients = {from_values({2}, std::vector<double>{3 * huge, 0.0}, dtype),
                               from_values({1}, std::vector<double>{-4 * huge}, dtype)};
    const NoGradScope no_grad;
    CHECK(clip_by_global_norm_(gradients, 10).item() == doctest::Approx(5 * huge));
    CHECK(gradients[0].to_vector<double>()[0] == doctest::Approx(6));
    CHECK(gradients[1].item() == doctest::Approx(-8));
  }
}
