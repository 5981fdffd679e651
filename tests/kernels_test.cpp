// CPU kernels against plain loops and the C library.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <new>
#include <numeric>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/denormals.h"
#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/indexed.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/random_words.h"
#include "framework/kernels/cpu/reduce.h"
#include "framework/kernels/shared/scalar_math.h"
#include "framework/tensor/creation.h"

using namespace gradus;

namespace {

/// Largest error over a grid, in units in the last place of the larger of |result| and `floor`.
double worst_ulps(const std::function<float(float)>& f, const std::function<double(double)>& exact, float low, float high, double floor) {
  double worst = 0;
  for (int i = 0; i <= 200000; ++i) {
    const float x = low + (high - low) * static_cast<float>(i) / 200000;
    const double expected = exact(x), ulp = std::ldexp(1.0, std::ilogb(std::max(std::fabs(expected), floor)) - 23);
    const double error = std::fabs(f(x) - expected) / ulp;
    worst = !(error <= worst) ? error : worst;
  }
  return worst;
}

}  // namespace

TEST_CASE("float functions are within a few units in the last place") {
  CHECK(worst_ulps([](float x) { return functions::exp(x); }, [](double x) { return std::exp(x); }, -87, 88, 0) < 2);
  CHECK(worst_ulps([](float x) { return functions::tanh(x); }, [](double x) { return std::tanh(x); }, -10, 10, 1e-6) < 4);
  CHECK(worst_ulps([](float x) { return functions::sigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }, -80, 80, 1e-30) < 4);
  CHECK(worst_ulps([](float x) { return functions::log(x); }, [](double x) { return std::log(x); }, 0.3f, 3, 1e-30) <
        1.2);
  CHECK(worst_ulps([](float x) { return functions::log(std::exp2(x)); },
                   [](double x) { return std::log(std::exp2(float(x))); }, -149, 127, 1e-30) < 1.2);
  CHECK(worst_ulps([](float x) { return functions::erf(x); }, [](double x) { return std::erf(x); }, -5, 5, 1e-40) < 3);
  // The distribution function is used as 1 + erf: its error counts against 1 for positive and relatively for negative x.
  CHECK(worst_ulps([](float x) { return functions::normal_cdf(x); }, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }, -5, 9, 0.5) < 2);
}

TEST_CASE("float functions at special values") {
  const float inf = INFINITY;
  CHECK(functions::exp(inf) == inf);
  CHECK(functions::exp(-inf) == 0);
  CHECK(functions::exp(0.0f) == 1);
  CHECK(functions::exp(89.0f) == inf);
  CHECK(functions::exp(-104.0f) == 0);
  CHECK(functions::exp(88.7f) == doctest::Approx(std::exp(88.7)));
  CHECK(functions::exp(-100.0f) == doctest::Approx(std::exp(-100.0)).epsilon(0.05));  // below the normal range
  CHECK(std::isnan(functions::exp(NAN)));
  CHECK(functions::tanh(inf) == 1);
  CHECK(functions::tanh(-inf) == -1);
  CHECK(std::isnan(functions::tanh(NAN)));
  CHECK(std::signbit(functions::tanh(-0.0f)));
  CHECK(functions::log(inf) == inf);
  CHECK(functions::log(0.0f) == -inf);
  CHECK(functions::log(-0.0f) == -inf);
  CHECK(functions::log(1.0f) == 0);
  CHECK(functions::log(1e-45f) == doctest::Approx(std::log(std::numeric_limits<float>::denorm_min())));
  CHECK(std::isnan(functions::log(-1.0f)));
  CHECK(std::isnan(functions::log(-inf)));
  CHECK(std::isnan(functions::log(-1e-40f)));
  CHECK(std::isnan(functions::log(NAN)));
  CHECK(functions::erf(inf) == 1);
  CHECK(functions::erf(-inf) == -1);
  CHECK(std::isnan(functions::erf(NAN)));
  CHECK(std::signbit(functions::erf(-0.0f)));
  CHECK(functions::erf(1e-45f) == std::erf(1e-45f));
  CHECK(functions::normal_cdf(inf) == 1);
  CHECK(functions::normal_cdf(-inf) == 0);
  CHECK(functions::normal_cdf(0.0f) == 0.5f);
  CHECK(std::isnan(functions::normal_cdf(NAN)));
}

namespace {

/// Elements of a (m,n) product with bias, by plain loops in double; a few rows and columns of it are compared.
template <class T, class Out>
void check_products(double unit_roundoff_of_sums, double unit_roundoff_of_result) {
  Generator generator(3);
  const std::vector<std::array<std::int64_t, 3>> sizes = {{1, 1, 1},      {3, 5, 7}, {129, 257, 65}, {1025, 3, 511},
                                                          {513, 300, 17}, {4, 4, 0}, {5, 31, 4099},  {70, 33, 6151}};
  for (const auto& [m, n, k] : sizes) {
    for (int variant = 0; variant < 8; ++variant) {
      const bool ta = variant & 1, tb = variant & 2, with_bias = variant & 4;
      const auto draw = [&](std::int64_t count) {
        return random_normal({std::max<std::int64_t>(1, count)}, generator, dtype_of<T>);
      };
      const Tensor a = draw(m * k), b = draw(k * n), bias = random_normal({n}, generator, dtype_of<Arithmetic<T>>);
      const auto x = a.to_vector<double>(), y = b.to_vector<double>(), z = bias.to_vector<double>();
      std::vector<double> first;
      for (int count : {1, 3}) {
        const cpu::SharingScope sharing(count);
        const Tensor c = Tensor::empty({m, n}, dtype_of<Out>);
        cpu::gemm<T>(m, n, k, {a.data<T>(), std::max<std::int64_t>(1, ta ? m : k), ta},
                     {b.data<T>(), std::max<std::int64_t>(1, tb ? k : n), tb}, c.fresh_data<Out>(), n,
                     with_bias ? bias.data<Arithmetic<T>>() : nullptr);
        const std::vector<double> values = c.to_vector<double>();
        for (std::int64_t i = 0; i < m; i += 1 + m / 7) {
          for (std::int64_t j = 0; j < n; j += 1 + n / 7) {
            double expected = with_bias ? z[j] : 0, terms = std::fabs(expected);
            for (std::int64_t p = 0; p < k; ++p) {
              const double term = (ta ? x[p * m + i] : x[i * k + p]) * (tb ? y[j * k + p] : y[p * n + j]);
              expected += term;
              terms += std::fabs(term);
            }
            const double bound =
                (k + 2) * unit_roundoff_of_sums * terms + unit_roundoff_of_result * std::fabs(expected);
            CHECK(std::fabs(values[i * n + j] - expected) <= bound);
          }
        }
        if (first.empty()) first = values;
        CHECK(first == values);
      }
    }
  }
}

}  // namespace

TEST_CASE("matrix products equal plain loops, whatever the tiles, slices, transposes and thread count") {
  check_products<double, double>(0x1p-53, 0);
  check_products<float, float>(0x1p-24, 0);
  check_products<bfloat16, bfloat16>(0x1p-24, 0x1p-8);
  check_products<bfloat16, float>(0x1p-24, 0);
}

TEST_CASE("the BLAS alone gives the same products") {
  const cpu::BlasOnlyScope blas_only;
  CHECK(cpu::bf16_products() == "f32");
  check_products<float, float>(0x1p-24, 0);
  check_products<bfloat16, bfloat16>(0x1p-24, 0x1p-8);
  check_products<bfloat16, float>(0x1p-24, 0);
}

TEST_CASE("sums over any axes equal plain loops") {
  Generator generator(4);
  const Tensor x = random_normal({5, 7, 11}, generator, DType::f64);
  const std::vector<double> values = x.to_vector<double>();
  for (int mask = 0; mask < 8; ++mask) {
    const std::vector<bool> reduced = {(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0};
    const Tensor sum = cpu::sum(x, reduced, DType::f64);
    const Shape strides = contiguous_strides(sum.shape());
    std::vector<double> expected(sum.numel(), 0.0);
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const std::int64_t index[3] = {i / 77, i / 11 % 7, i % 11};
      std::int64_t at = 0;
      for (int axis = 0; axis < 3; ++axis) at += reduced[axis] ? 0 : index[axis] * strides[axis];
      expected[at] += values[i];
    }
    const std::vector<double> got = sum.to_vector<double>();
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(std::fabs(got[i] - expected[i]) <= 1e-12);
  }
  CHECK(cpu::all_finite(x));
  CHECK_FALSE(cpu::all_finite(full({3}, NAN, DType::f64)));
  CHECK_FALSE(cpu::all_finite(full({3}, -INFINITY)));
  CHECK(cpu::sum_of_squares(full({40000}, 0.5)) == doctest::Approx(10000));
}

TEST_CASE("squared deviations of short and long rows, the same bits for any thread count") {
  Generator generator(6);
  for (const Shape& shape : {Shape{500, 33}, Shape{3, 40009}}) {
    const Tensor x = random_normal(shape, generator, DType::f32, 2, 3);
    std::vector<double> first;
    for (const int threads : {1, 3}) {
      const cpu::SharingScope sharing(threads);
      const std::vector<double> got = cpu::squared_deviations(cpu::as_reduction_rows(x, {false, true}));
      if (first.empty()) first = got;
      CHECK(got == first);
    }
    const std::vector<double> values = x.to_vector<double>();
    for (std::int64_t row = 0; row < shape[0]; ++row) {
      const auto begin = values.begin() + row * shape[1], end = begin + shape[1];
      const double mean = std::accumulate(begin, end, 0.0) / double(shape[1]);
      double squares = 0;
      for (auto value = begin; value != end; ++value) squares += (*value - mean) * (*value - mean);
      CHECK(first[row] == doctest::Approx(squares).epsilon(1e-12));
    }
  }
}

TEST_CASE(
    "gather and scatter_add are plain loops to the bit: additions in the order of the source, for any thread count") {
  struct Case {
    Shape index, table;
    int axis;
  };
  Generator generator(5);
  for (const auto& [shape, table_shape, axis] :
       {Case{{3, 50000}, {4, 7}, 1}, Case{{50000, 3}, {7, 4}, 0}, Case{{7, 300, 70}, {7, 5, 81}, 1},
        Case{{5, 2, 3, 2}, {6, 4, 3, 2}, 1}, Case{{5, 2, 3, 2}, {6, 4, 3, 2}, 0}, Case{{5, 2, 3, 2}, {6, 4, 3, 2}, 2},
        Case{{5, 2, 3, 2}, {6, 4, 3, 2}, 3}, Case{{2000}, {3}, 0}}) {
    const Tensor index = random_integers(shape, generator, 0, table_shape[axis] - 1);
    const Tensor table = random_normal(table_shape, generator), source = random_normal(shape, generator);
    const Shape strides = contiguous_strides(table_shape);
    const auto indices = index.to_vector<std::int64_t>();
    const auto elements = table.to_vector<float>(), terms = source.to_vector<float>();
    std::vector<float> gathered(indices.size()), sums = elements;
    for (std::size_t i = 0; i < indices.size(); ++i) {
      std::int64_t rest = static_cast<std::int64_t>(i), place = 0;
      for (int k = shape.rank() - 1; k >= 0; --k) {
        place += (k == axis ? indices[i] : rest % shape[k]) * strides[k];
        rest /= shape[k];
      }
      gathered[i] = elements[place];
      sums[place] += terms[i];
    }
    for (const int threads : {1, 3}) {
      const cpu::SharingScope sharing(threads);
      const Tensor out = Tensor::empty(shape, DType::f32), added = cpu::clone(table);
      cpu::gather(out, table, index, axis);
      cpu::scatter_add(added, source, index, axis);
      CHECK(out.to_vector<float>() == gathered);
      CHECK(added.to_vector<float>() == sums);
    }
  }
}

TEST_CASE("an index outside is found, wherever it is") {
  std::vector<std::int64_t> indices(50000, 4);
  CHECK(cpu::first_outside(from_values({50000}, indices), 5) == -1);
  CHECK(cpu::first_outside(from_values({50000}, indices), 4) == 0);
  indices[49999] = 5;
  CHECK(cpu::first_outside(from_values({50000}, indices), 5) == 49999);
  indices[20000] = -1;
  CHECK(cpu::first_outside(from_values({50000}, indices), 5) == 20000);
  CHECK(cpu::first_outside(Tensor::empty({0}, DType::i64), 0) == -1);
}

TEST_CASE("random words in bulk are the words one by one") {
  std::uint32_t words[64];
  cpu::random_words(9, 4, 128, 61, words);
  for (int i = 0; i < 61; ++i) CHECK(words[i] == random::philox_word(9, 4, 128 + i));
}

#if defined(__SSE2__)
TEST_CASE("denormal numbers are flushed on all threads, for as long as that is asked for") {
  const cpu::SharingScope sharing(4);
  const auto denormals = [] {
    std::vector<float> halves(64);
    cpu::parallel_for(64, 1, 1000, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        volatile float smallest = std::numeric_limits<float>::min();
        halves[i] = smallest * 0.5f;
      }
    });
    return std::count_if(halves.begin(), halves.end(), [](float half) { return half != 0; });
  };
  CHECK(denormals() == 64);
  {
    const cpu::FlushDenormals flush;
    CHECK(denormals() == 0);
    const cpu::FlushDenormals again;
    CHECK(denormals() == 0);
  }
  CHECK(denormals() == 64);
}
#endif

TEST_CASE("parallel_for visits every index once, in chunks that do not depend on the threads") {
  const int threads = cpu::thread_count();
  for (int count : {1, 2, 5}) {
    cpu::set_thread_count(count);
    std::vector<int> visits(1003);
    cpu::parallel_for(1003, 10, 1000, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) ++visits[i];
    });
    CHECK(std::count(visits.begin(), visits.end(), 1) == 1003);
  }
  cpu::set_thread_count(threads);
  CHECK_THROWS_AS(cpu::set_thread_count(0), UsageError);
}

TEST_CASE("of the exceptions in a parallel loop the first in the order of the loop comes out, for any thread count") {
  for (int count : {1, 2, 5}) {
    const cpu::SharingScope shared(count);
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::vector<int> visits(1003);
      const auto visit = [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          if (i == 333 || i == 340 || i > 900) fail<NumericError>("at {}", i);
          if (i == 500) throw std::bad_alloc();
          ++visits[i];
        }
      };
      CHECK_THROWS_WITH_AS(cpu::parallel_for(1003, 10, 1000, visit), "at 333", NumericError);
      CHECK(std::count(visits.begin(), visits.begin() + 333, 1) == 333);
    }
    // An inner loop's exception goes through the outer one, and the threads are as good as before.
    const auto inner = [](std::int64_t, std::int64_t) { throw std::bad_alloc(); };
    CHECK_THROWS_AS(
        cpu::parallel_for(8, 1, 1000, [&](std::int64_t, std::int64_t) { cpu::parallel_for(8, 1, 1000, inner); }),
        std::bad_alloc);
    std::atomic<std::int64_t> sum = 0;
    cpu::parallel_for(100, 1, 1000, [&](std::int64_t begin, std::int64_t) { sum += begin; });
    CHECK(sum == 4950);
  }
}
