// Layer normalisation, alone and of a sum, forward and backward, beside plain loops in double.
#include "framework/kernels/cuda/layer_norm.h"
#include "framework/random/philox.h"
#include "tests/cuda/buffer.h"
#include "tests/cuda/kernel_values.h"
#include "tests/cuda/schedules.h"

using namespace gradus;

namespace {

constexpr double epsilon = 1e-5;

/// How the rows that are normalised come about.
enum class Rows { alone, sums };

template <class T>
struct Arguments {
  using A = Arithmetic<T>;
  std::size_t rows, n;
  std::vector<T> x, g, update, g_sum;
  std::vector<A> gain, bias;
  cuda::DropoutMask mask;

  Arguments(std::size_t rows, std::size_t n, double probability = 0.3)
      : rows(rows),
        n(n),
        x(normal_values<T>(rows * n, 1)),
        g(normal_values<T>(rows * n, 2)),
        update(normal_values<T>(rows * n, 5)),
        g_sum(normal_values<T>(rows * n, 6)),
        gain(normal_values<A>(n, 3)),
        bias(normal_values<A>(n, 4)),
        mask{probability, 11, 13} {}

  /// What element i of an update is multiplied by.
  double factor(std::size_t i) const {
    const std::uint32_t threshold = random::dropout_threshold(mask.probability);
    return random::philox_word(mask.seed, mask.stream, i) < threshold ? 0 : 1 / (1 - mask.probability);
  }
};

template <class T>
struct Results {
  using A = Arithmetic<T>;
  std::vector<T> y, dx, sum, dupdate;  ///< the last two for rows that are sums
  std::vector<A> mean, scale, dgain, dbias;

  bool operator==(const Results& other) const {
    return are_same(y, other.y) && are_same(dx, other.dx) && are_same(sum, other.sum) &&
           are_same(dupdate, other.dupdate) && are_same(mean, other.mean) && are_same(scale, other.scale) &&
           are_same(dgain, other.dgain) && are_same(dbias, other.dbias);
  }
};

/// Forward, then backward with what that saved. All arrays start `shift` elements after an aligned address.
template <class T>
Results<T> run(const Arguments<T>& given, Rows kind = Rows::alone, bool naive = false, std::size_t shift = 0) {
  using A = Arithmetic<T>;
  const std::size_t rows = given.rows, n = given.n;
  const auto shifted = [shift](auto values) {
    values.insert(values.begin(), shift, {});
    return values;
  };
  Buffer<T> x(shifted(given.x)), g(shifted(given.g)), y(rows * n + shift), dx(rows * n + shift);
  Buffer<T> update(shifted(given.update)), g_sum(shifted(given.g_sum)), sum(rows * n + shift),
      dupdate(rows * n + shift);
  Buffer<A> gain(shifted(given.gain)), bias(shifted(given.bias)), mean(rows), scale(rows), dgain(n), dbias(n);
  T *const to = y.data() + shift, *const to_dx = dx.data() + shift, *const total = sum.data() + shift,
           *const to_dupdate = dupdate.data() + shift;
  const T *const from = x.data() + shift, *const up = g.data() + shift, *const more = update.data() + shift,
                 *const direct = g_sum.data() + shift;
  const A *const gains = gain.data() + shift, *const biases = bias.data() + shift;
  Buffer<A> partials(cuda::layer_norm_partials(rows, n));
  if (naive) {
    const T* normalised = from;
    if (kind == Rows::sums) {
      cuda::dropout_naive<T>(total, more, from, rows * n, given.mask, nullptr);
      normalised = total;
    }
    cuda::layer_norm_forward_naive(normalised, gains, biases, to, mean.data(), scale.data(), rows, n, A(epsilon),
                                   nullptr);
    if (kind == Rows::sums) {
      cuda::add_layer_norm_backward_naive(normalised, gains, up, direct, given.mask, mean.data(), scale.data(), to_dx,
                                          to_dupdate, dgain.data(), dbias.data(), rows, n, nullptr);
    } else {
      cuda::layer_norm_backward_naive(from, gains, up, mean.data(), scale.data(), to_dx, dgain.data(), dbias.data(),
                                      rows, n, nullptr);
    }
  } else if (kind == Rows::sums) {
    cuda::add_layer_norm_forward(from, more, given.mask, gains, biases, total, to, mean.data(), scale.data(), rows, n,
                                 A(epsilon), nullptr);
    cuda::add_layer_norm_backward(total, gains, up, direct, given.mask, mean.data(), scale.data(), to_dx, to_dupdate,
                                  dgain.data(), dbias.data(), partials.data(), rows, n, nullptr);
  } else {
    cuda::layer_norm_forward(from, gains, biases, to, mean.data(), scale.data(), rows, n, A(epsilon), nullptr);
    cuda::layer_norm_backward(from, gains, up, mean.data(), scale.data(), to_dx, dgain.data(), dbias.data(),
                              partials.data(), rows, n, nullptr);
  }
  cuda::synchronize(nullptr);
  const auto unshifted = [shift](const auto& buffer) {
    auto values = buffer.values();
    values.erase(values.begin(), values.begin() + shift);
    return values;
  };
  Results<T> results = {unshifted(y),   unshifted(dx), {}, {}, mean.values(), scale.values(),
                        dgain.values(), dbias.values()};
  if (kind == Rows::sums) {
    results.sum = unshifted(sum);
    results.dupdate = unshifted(dupdate);
  }
  return results;
}

/// Within one rounding of the residual plus what is left of the update, and one of the product.
template <class T>
void check_sum(const Arguments<T>& given, const Results<T>& found) {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < given.x.size(); ++i) {
    const double update = double(given.update[i]) * given.factor(i), sum = double(given.x[i]) + update;
    const double off = 3 * rounding_error<Arithmetic<T>> * (std::fabs(double(given.x[i])) + std::fabs(update));
    wrong += !is_close(double(found.sum[i]), sum, off + rounding_error<T> * std::fabs(sum));
  }
  CHECK(wrong == 0);
}

/// Within the roundings of sums of n terms, of the mean that is taken off, and of the results' type. What is known of a
/// sum is rounded to that type, what was normalised was not.
template <class T>
void check_forward(const Arguments<T>& given, const Results<T>& found) {
  const std::vector<T>& rows = found.sum.empty() ? given.x : found.sum;
  const double u = rounding_error<Arithmetic<T>>, n = given.n;
  const double u_of_x = found.sum.empty() || sizeof(T) == sizeof(Arithmetic<T>) ? 0 : rounding_error<T>;
  std::size_t wrong = 0;
  for (std::size_t row = 0; row < given.rows; ++row) {
    const T* x = rows.data() + row * given.n;
    double sum = 0, magnitudes = 0, squares = 0, largest = 0;
    for (std::size_t i = 0; i < given.n; ++i) {
      sum += double(x[i]), magnitudes += std::fabs(double(x[i]));
      largest = std::max(largest, std::fabs(double(x[i])));
    }
    const double mean = sum / n;
    for (std::size_t i = 0; i < given.n; ++i) squares += (double(x[i]) - mean) * (double(x[i]) - mean);
    const double scale = 1 / std::sqrt(squares / n + epsilon);
    const double off_mean = ((n + 2) * u + u_of_x) * magnitudes / n,
                 off_scale = (n + 8) * u + 2 * (off_mean + u_of_x * largest) * scale;
    wrong += !is_close(found.mean[row], mean, off_mean);
    wrong += !is_close(found.scale[row], scale, off_scale * scale);
    for (std::size_t i = 0; i < given.n; ++i) {
      const double gain = given.gain[i], bias = given.bias[i], centred = double(x[i]) - mean;
      const double y = centred * scale * gain + bias;
      const double off = std::fabs(gain) * scale *
                             (off_mean + u_of_x * std::fabs(double(x[i])) + std::fabs(centred) * (off_scale + 4 * u)) +
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
    const T *x = (found.sum.empty() ? given.x : found.sum).data() + row * given.n, *g = given.g.data() + row * given.n;
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
      const std::size_t element = row * given.n + i;
      const double direct = found.sum.empty() ? 0 : double(given.g_sum[element]);
      const double dx = scale * (h - h_sum / n - xhat * hx_sum / n) + direct;
      const double terms = std::fabs(h) + h_magnitudes / n + std::fabs(xhat) * hx_magnitudes / n;
      const double off = (n + 10) * u * scale * terms + 2 * u * std::fabs(direct);
      wrong += !is_close(double(found.dx[element]), dx, off + rounding_error<T> * std::fabs(dx));
      if (found.sum.empty()) continue;
      const double factor = given.factor(element), dupdate = dx * factor;
      wrong += !is_close(double(found.dupdate[element]), dupdate,
                         off * factor + (rounding_error<T> + 3 * u) * std::fabs(dupdate));
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
  for (const Rows kind : {Rows::alone, Rows::sums}) {
    const Results<T> found = run(given, kind, naive);
    if (kind == Rows::sums) check_sum(given, found);
    // The naive way normalises sums that were rounded.
    if (kind == Rows::alone || !naive || sizeof(T) == sizeof(Arithmetic<T>)) check_forward(given, found);
    check_backward(given, found);
  }
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
  for (const Rows kind : {Rows::alone, Rows::sums}) {
    const Results<T> first = run(given, kind);
    for_each_schedule([&] { CHECK(run(given, kind) == first); });
    CHECK(run(given, kind, false, 1) == first);
  }
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
  for (const Rows kind : {Rows::alone, Rows::sums}) {
    for (bool naive : {false, true}) {
      const Results<float> found = run(given, kind, naive);
      CHECK(found.dgain == std::vector<float>(37, 0));
      CHECK(found.dbias == std::vector<float>(37, 0));
    }
  }
}

TEST_CASE("a layer norm of a sum: nothing dropped, and a part of the stream's number from the device") {
  const Arguments<float> whole(5, 48, 0);
  const Results<float> found = run(whole, Rows::sums);
  check_sum(whole, found);
  CHECK(are_same(found.dupdate, found.dx));

  Arguments<float> given(5, 48);
  const Results<float> expected = run(given, Rows::sums);
  Buffer<std::uint64_t> offset(std::vector<std::uint64_t>{3});
  given.mask.stream -= 3;
  given.mask.stream_offset = offset.data();
  CHECK(run(given, Rows::sums) == expected);
  CHECK(are_same(run(given, Rows::sums, true).dupdate, run(Arguments<float>(5, 48), Rows::sums, true).dupdate));
}

namespace {

/// The same but for the last bits, in which fused multiply-adds are not alike in both units.
template <class A>
bool are_close(const std::vector<A>& found, const std::vector<A>& expected, double factor = 1) {
  double largest = 0, off = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::fabs(double(expected[i]) * factor));
    const double difference = std::fabs(double(found[i]) - double(expected[i]) * factor);
    if (!(difference <= off)) off = difference;
  }
  return found.size() == expected.size() && off <= 8 * double(std::numeric_limits<A>::epsilon()) * largest;
}

/// In units that are powers of two, and large beside epsilon, rows are normalised to the same.
template <class T>
void check_units(std::size_t n, double ordinary, double huge) {
  using A = Arithmetic<T>;
  CAPTURE(n);
  for (const Rows kind : {Rows::alone, Rows::sums}) {
    for (bool naive : {false, true}) {
      const auto in_unit = [&](double unit) {
        Arguments<T> given(3, n);
        for (auto* values : {&given.x, &given.update}) {
          for (T& value : *values) value = T(A(value) * A(unit));
        }
        return run(given, kind, naive);
      };
      const Results<T> expected = in_unit(ordinary), found = in_unit(huge);
      CHECK(are_same(found.y, expected.y));
      CHECK(are_close(found.dgain, expected.dgain));
      CHECK(are_close(found.dbias, expected.dbias));
      CHECK(are_close(found.mean, expected.mean, huge / ordinary));
      CHECK(are_close(found.scale, expected.scale, ordinary / huge));
      CHECK(found.scale[0] > 0);
    }
  }
}

}  // namespace

TEST_CASE("rows whose squares overflow are normalised in another unit") {
  for (std::size_t n : {40, 300, 1030}) {
    check_units<float>(n, 0x1p40, 0x1p62);
    check_units<float>(n, 0x1p40, 0x1p110);
    check_units<bfloat16>(n, 0x1p40, 0x1p90);
    check_units<double>(n, 0x1p40, 0x1p700);
  }
}

TEST_CASE("rows of one value become the bias, and what is not finite stays in its row") {
  for (const Rows kind : {Rows::alone, Rows::sums}) {
    for (bool naive : {false, true}) {
      Arguments<float> given(4, 48);
      std::fill_n(given.x.begin(), 48, 5.0f);
      std::fill_n(given.update.begin(), 48, 0.0f);
      given.x[48 + 40] = INFINITY;
      given.x[96] = NAN;
      const Results<float> found = run(given, kind, naive);
      CHECK(std::vector<float>(found.y.begin(), found.y.begin() + 48) == given.bias);
      for (std::size_t i = 0; i < 4 * 48; ++i) CHECK(std::isnan(found.y[i]) == (i / 48 == 1 || i / 48 == 2));
    }
  }
}
