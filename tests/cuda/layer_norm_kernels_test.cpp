// Layer normalisation, forward and backward, beside plain loops in double.
#include "framework/kernels/cuda/layer_norm.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;

namespace {

constexpr double epsilon = 1e-5;

template <class T>
struct Arguments {
  using A = Arithmetic<T>;
  std::size_t rows, n;
  std::vector<T> x, g;
  std::vector<A> gain, bias;

  Arguments(std::size_t rows, std::size_t n)
      : rows(rows),
        n(n),
        x(normal_values<T>(rows * n, 1)),
        g(normal_values<T>(rows * n, 2)),
        gain(normal_values<A>(n, 3)),
        bias(normal_values<A>(n, 4)) {}
};

template <class T>
struct Results {
  using A = Arithmetic<T>;
  std::vector<T> y, dx;
  std::vector<A> mean, scale, dgain, dbias;

  bool operator==(const Results& other) const {
    return are_same(y, other.y) && are_same(dx, other.dx) && are_same(mean, other.mean) &&
           are_same(scale, other.scale) && are_same(dgain, other.dgain) && are_same(dbias, other.dbias);
  }
};

/// Forward, then backward with what that saved. All arrays start `shift` elements after an aligned address.
template <class T>
Results<T> run(const Arguments<T>& given, bool naive = false, std::size_t shift = 0) {
  using A = Arithmetic<T>;
  const std::size_t rows = given.rows, n = given.n;
  const auto shifted = [shift](auto values) {
    values.insert(values.begin(), shift, {});
    return values;
  };
  Buffer<T> x(shifted(given.x)), g(shifted(given.g)), y(rows * n + shift), dx(rows * n + shift);
  Buffer<A> gain(shifted(given.gain)), bias(shifted(given.bias)), mean(rows), scale(rows), dgain(n), dbias(n);
  T *const to = y.data() + shift, *const to_dx = dx.data() + shift;
  const T *const from = x.data() + shift, *const up = g.data() + shift;
  const A *const gains = gain.data() + shift, *const biases = bias.data() + shift;
  if (naive) {
    cuda::layer_norm_forward_naive(from, gains, biases, to, mean.data(), scale.data(), rows, n, A(epsilon), nullptr);
    cuda::layer_norm_backward_naive(from, gains, up, mean.data(), scale.data(), to_dx, dgain.data(), dbias.data(), rows,
                                    n, nullptr);
  } else {
    cuda::layer_norm_forward(from, gains, biases, to, mean.data(), scale.data(), rows, n, A(epsilon), nullptr);
    Buffer<A> partials(cuda::layer_norm_partials(rows, n));
    cuda::layer_norm_backward(from, gains, up, mean.data(), scale.data(), to_dx, dgain.data(), dbias.data(),
                              partials.data(), rows, n, nullptr);
    cuda::synchronize(nullptr);
  }
  const auto unshifted = [shift](const auto& buffer) {
    auto values = buffer.values();
    values.erase(values.begin(), values.begin() + shift);
    return values;
  };
  return {unshifted(y), unshifted(dx), mean.values(), scale.values(), dgain.values(), dbias.values()};
}

/// Within the roundings of sums of n terms, of the mean that is taken off, and of the results' type.
template <class T>
void check_forward(const Arguments<T>& given, const Results<T>& found) {
  const double u = rounding_error<Arithmetic<T>>, n = given.n;
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < given.rows; ++row) {
    const T* x = given.x.data() + row * given.n;
    double sum = 0, magnitudes = 0, squares = 0;
    for (std::size_t i = 0; i < given.n; ++i) sum += double(x[i]), magnitudes += std::fabs(double(x[i]));
    const double mean = sum / n;
    for (std::size_t i = 0; i < given.n; ++i) squares += (double(x[i]) - mean) * (double(x[i]) - mean);
    const double scale = 1 / std::sqrt(squares / n + epsilon);
    const double off_mean = (n + 2) * u * magnitudes / n, off_scale = (n + 8) * u + 2 * off_mean * scale;
    wrong += !is_close(found.mean[row], mean, off_mean);
    wrong += !is_close(found.scale[row], scale, off_scale * scale);
    for (std::size_t i = 0; i < given.n; ++i) {
      const double gain = given.gain[i], bias = given.bias[i], centred = double(x[i]) - mean;
      const double y = centred * scale * gain + bias;
      const double off = std::fabs(gain) * scale * (off_mean + std::fabs(centred) * (off_scale + 4 * u)) +
                         2 * u * (std::fabs(bias) + std::fabs(y));
      wrong += !is_close(double(found.y[row * given.n + i]), y, off + rounding_error<T> * std::fabs(y));
    }
  }
  CHECK(wrong == 0);
}

/// From the mean and scale that the forward pass has found.
template <class T>
void check_backward(const Arguments<T>& given, const Results<T>& found) {
  const double u = rounding_error<Arithmetic<T>>, n = given.n, rows = given.rows;
  std::size_t wrong = 0;
  std::vector<double> dgain(given.n), dbias(given.n), gain_magnitudes(given.n), bias_magnitudes(given.n);
  for (std::size_t row = 0; row < given.rows; ++row) {
    const T *x = given.x.data() + row * given.n, *g = given.g.data() + row * given.n;
    const double mean = found.mean[row], scale = found.scale[row];
    double h_sum = 0, hx_sum = 0, h_magnitudes = 0, hx_magnitudes = 0;
    for (std::size_t i = 0; i < given.n; ++i) {
      const double xhat = (double(x[i]) - mean) * scale, up = double(g[i]), h = up * given.gain[i];
      h_sum += h, h_magnitudes += std::fabs(h);
      hx_sum += h * xhat, hx_magnitudes += std::fabs(h * xhat);
      dgain[i] += up * xhat, gain_magnitudes[i] += std::fabs(up * xhat);
      dbias[i] += up, bias_magnitudes[i] += std::fabs(up);
    }
    for (std::size_t i = 0; i < given.n; ++i) {
      const double xhat = (double(x[i]) - mean) * scale, h = double(g[i]) * given.gain[i];
      const double dx = scale * (h - h_sum / n - xhat * hx_sum / n);
      const double terms = std::fabs(h) + h_magnitudes / n + std::fabs(xhat) * hx_magnitudes / n;
      const double off = (n + 10) * u * scale * terms;
      wrong += !is_close(double(found.dx[row * given.n + i]), dx, off + rounding_error<T> * std::fabs(dx));
    }
  }
  for (std::size_t i = 0; i < given.n; ++i) {
    wrong += !is_close(found.dgain[i], dgain[i], (rows + 4) * u * gain_magnitudes[i]);
    wrong += !is_close(found.dbias[i], dbias[i], rows * u * bias_magnitudes[i]);
  }
  CHECK(wrong == 0);
}

template <class T>
void check(std::size_t rows, std::size_t n, bool naive = false) {
  CAPTURE(rows);
  CAPTURE(n);
  const Arguments<T> given(rows, n);
  const Results<T> found = run(given, naive);
  check_forward(given, found);
  check_backward(given, found);
}

template <class T>
void check_all_lengths() {
  // Up to 256 by a warp with 8 elements in each lane, up to 512 or 1024 with more; then by a block.
  for (std::size_t n : {1, 2, 31, 33, 127, 128, 129, 256, 257, 512, 514, 1000, 1024, 1025}) check<T>(3, n);
  for (std::size_t rows : {1, 8, 9, 67}) {
    check<T>(rows, 40);
    check<T>(rows, 5);
  }
  check<T>(19, 1030);
  for (std::size_t n : {1, 33, 300}) check<T>(5, n, true);
}

template <class T>
void check_bits(std::size_t rows, std::size_t n) {
  CAPTURE(n);
  const Arguments<T> given(rows, n);
  const Results<T> first = run(given);
  for_each_schedule([&] { CHECK(run(given) == first); });
  CHECK(run(given, false, 1) == first);
}

}  // namespace

TEST_CASE("layer norm of rows of every kind of length, in every dtype") {
  check_all_lengths<double>();
  check_all_lengths<float>();
  check_all_lengths<bfloat16>();
}

TEST_CASE("a layer norm of more rows than warps, and than blocks") {
  check<double>(8 * 1024 + 3, 3);  // so close a bound that one row left out of a sum shows
  check<double>(1024 + 3, 257);
}

TEST_CASE("the bits of a layer norm are the same under every schedule, wherever the tensors lie") {
  check_bits<double>(11, 36);
  check_bits<float>(11, 33);
  check_bits<float>(9, 260);
  check_bits<float>(3, 1028);
  check_bits<bfloat16>(11, 64);
}

TEST_CASE("a layer norm of no rows: gain and bias have no gradient") {
  const Arguments<float> given(0, 37);
  for (bool naive : {false, true}) {
    const Results<float> found = run(given, naive);
    CHECK(found.dgain == std::vector<float>(37, 0));
    CHECK(found.dbias == std::vector<float>(37, 0));
  }
}

TEST_CASE("rows of one value become the bias, and what is not finite stays in its row") {
  for (bool naive : {false, true}) {
    Arguments<float> given(4, 48);
    std::fill_n(given.x.begin(), 48, 5.0f);
    given.x[48 + 40] = INFINITY;
    given.x[96] = NAN;
    const Results<float> found = run(given, naive);
    CHECK(std::vector<float>(found.y.begin(), found.y.begin() + 48) == given.bias);
    for (std::size_t i = 0; i < 4 * 48; ++i) CHECK(std::isnan(found.y[i]) == (i / 48 == 1 || i / 48 == 2));
  }
}
