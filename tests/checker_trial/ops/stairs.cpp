// Forwards that are not smooth in the last digits: single precision inside, tables, solvers that stop early.
#include <array>
#include "op.h"
namespace trial {
namespace {

template <class T> T normal_density(T x) { return exp(-x * x / 2) / sqrt(2 * T(pi)); }

template <class T, class F> T bisect(F f, T low, T high, double stop) {
  while (high - low > tolerance<T>(stop)) {
    const T middle = (low + high) / 2;
    (f(middle) > 0 ? high : low) = middle;
  }
  return (low + high) / 2;
}
template <class T> T kepler(T mean, T e) {  // z with z - e sin z = mean, by Newton's method
  T z = mean;
  for (int k = 0; k < 100; ++k) {
    const T step = (z - e * sin(z) - mean) / (1 - e * cos(z));
    z -= step;
    if (fabs(step) < tolerance<T>(1e-6)) break;
  }
  return z;
}
// Romberg's rule on [low, high], until two rows agree within `stop`.
template <class T, class F> T integrate(F f, T low, T high, double stop) {
  vec<T> row{(high - low) * (f(low) + f(high)) / 2};
  for (int64_t k = 1, parts = 2; k < 14; ++k, parts *= 2) {
    T middle = 0, four = 1;
    for (int64_t i = 1; i < parts; i += 2) middle += f(low + (high - low) * i / parts);
    vec<T> next{row[0] / 2 + (high - low) / parts * middle};
    for (int64_t j = 1; j <= k; ++j) {
      four *= 4;
      next.push_back(next[j - 1] + (next[j - 1] - row[j - 1]) / (four - 1));
    }
    const T change = fabs(next.back() - row.back());
    row = next;
    if (k > 2 && change < tolerance<T>(stop)) break;
  }
  return row.back();
}
template <class T> vec<T> power_iteration(int64_t n, const T* a, double stop, T& value, Form form = plain) {
  vec<T> v(n, T(1)), next(n);
  for (int k = 0; k < 3000; ++k) {
    gemm(n, n, 1, a, form, v.data(), plain, next.data());
    const T norm = sqrt(dot(n, next.data(), next.data()));
    T change = 0;
    for (auto i : upto(n)) {
      next[i] /= norm;
      change = max(change, fabs(next[i] - v[i]));
    }
    v.swap(next);
    value = norm;
    if (change < tolerance<T>(stop)) break;
  }
  return v;
}
constexpr int table_size = 64;
int clip(int i, int top) { return min(max(i, 0), top); }
const auto& sine_table() {  // of one turn, with a guard on both sides
  static const auto table = [] {
    std::array<double, table_size + 3> t{};
    for (int i = 0; i < table_size + 3; ++i) t[i] = std::sin(2 * pi * (i - 1) / table_size);
    return t;
  }();
  return table;
}

OPS {
  unary(
      "sine_single", "sin(3 x), rounded to single precision", {-2, 2}, [](auto x) { return as_float(sin(3 * x)); },
      [](auto x) { return 3 * cos(3 * x); });

  unary(
      "logistic_fast", "1 / (1 + exp(-x)), exp in single precision", {-4, 4}, [](auto x) { return 1 / (1 + fast_exp(-x)); },
      [](auto x) { return sigmoid(x) * sigmoid(-x); });

  unary(
      "entropy_fast", "-x log(x), log in single precision", {0.05, 1}, [](auto x) { return -x * fast_log(x); },
      [](auto x) { return -log(x) - 1; });

  unary(
      "lecun_tanh", "1.7159 tanh(2 x / 3), tanh in single precision", {-2, 2},
      [](auto x) { return 1.7159 * fast_tanh(2 * x / 3); },
      [](auto x) {
        const auto t = tanh(2 * x / 3);
        return 1.144 * (1 - t * t);
      });

  unary(
      "tanh_fast", "tanh in single precision", {-3, 3}, [](auto x) { return fast_tanh(x); },
      [](auto x) {
        const auto t = tanh(x);
        return 1 - t * t;
      });

  unary(
      "gelu_fast", "x Phi(x), erf in single precision", {-3, 3},
      [](auto x) { return x * (1 + fast_erf(x / sqrt(decltype(x)(2)))) / 2; },
      [](auto x) { return erfc(-x / sqrt(decltype(x)(2))) / 2 + x * normal_density(x); });

  unary(
      "log2_fast", "log2 by way of a natural logarithm in single precision", {0.2, 4},
      [](auto x) { return fast_log(x) * 1.4426950408889634; }, [](auto x) { return 1 / x; });

  unary(
      "cubic_bf16", "x^3 / 3 - x, rounded to bfloat16", {1.5, 3}, [](auto x) { return as_bf16(x * x * x / 3 - x); },
      [](auto x) { return x * x - 1; });

  unary(
      "wave_mixed", "sin(x) cos(5 x), both in single precision", {-2, 2}, [](auto x) { return fast_sin(x) * fast_cos(5 * x); },
      [](auto x) { return cos(x) * cos(5 * x) - 5 * sin(x) * sin(5 * x); });

  unary(
      "sine_table", "sin(2 pi x) by linear interpolation in a table of 64", {0, 1},
      [](auto x) {
        const auto at = x * table_size;
        const int i = clip(static_cast<int>(at), table_size - 1);
        const auto& t = sine_table();
        return t[i + 1] + (at - i) * (t[i + 2] - t[i + 1]);
      },
      [](auto x) {
        const int i = clip(static_cast<int>(x * table_size), table_size - 1);
        const auto& t = sine_table();
        return table_size * (t[i + 2] - t[i + 1]);
      });

  unary(
      "sine_lookup", "sin(2 pi x) by linear interpolation in a table of 64", {0, 0.98},
      [](auto x) {
        const auto at = x * table_size;
        const int i = clip(static_cast<int>(at), table_size - 1);
        const auto& t = sine_table();
        return t[i + 1] + (at - i) * (t[i + 2] - t[i + 1]);
      },
      [](auto x) {
        const int i = clip(static_cast<int>(x * table_size + 1), table_size);
        const auto& t = sine_table();
        return table_size * (t[i + 2] - t[i + 1]);
      });

  unary(
      "sine_spline", "sin(2 pi x) by a Catmull-Rom spline through a table of 64", {0, 1},
      [](auto x) {
        const auto at = x * table_size;
        const int i = clip(static_cast<int>(at), table_size - 2);
        const auto f = at - i;
        const double* t = &sine_table()[i];
        return t[1] +
               f * (t[2] - t[0] + f * (2 * t[0] - 5 * t[1] + 4 * t[2] - t[3] + f * (3 * (t[1] - t[2]) + t[3] - t[0]))) / 2;
      },
      [](auto x) {
        const auto at = x * table_size;
        const int i = clip(static_cast<int>(at), table_size - 2);
        const auto f = at - i;
        const double* t = &sine_table()[i];
        return table_size *
               (t[2] - t[0] + f * (2 * (2 * t[0] - 5 * t[1] + 4 * t[2] - t[3]) + 3 * f * (3 * (t[1] - t[2]) + t[3] - t[0]))) /
               2;
      });

  unary(
      "sigmoid_table", "sigmoid by linear interpolation of step 1/16 on [-6, 6], constant beyond", {-10, 10},
      [](auto x) {
        using T = decltype(x);
        const T at = (min(max(x, T(-6)), T(6)) + 6) * 16, low = floor(at);
        const double a = sigmoid(static_cast<double>(low) / 16 - 6), b = sigmoid(static_cast<double>(low + 1) / 16 - 6);
        return a + (at - low) * (b - a);
      },
      [](auto x) {
        using T = decltype(x);
        const T low = floor((x + 6) * 16);
        return T(16 * (sigmoid(static_cast<double>(low + 1) / 16 - 6) - sigmoid(static_cast<double>(low) / 16 - 6)));
      },
      "*s=5,8");

  unary(
      "cubic_root_bisected", "z with z^3 + z = x, by bisection to 1e-8", {-3, 3},
      [](auto x) {
        using T = decltype(x);
        return bisect([&](T z) { return z * z * z + z - x; }, T(-2), T(2), 1e-8);
      },
      [](auto x) {
        using T = decltype(x);
        const T z = bisect([&](T z) { return z * z * z + z - x; }, T(-2), T(2), 1e-15);
        return 1 / (3 * z * z + 1);
      });

  unary(
      "lambert_bisected", "z with z exp(z) = x, by bisection to 1e-8", {0.1, 5},
      [](auto x) {
        using T = decltype(x);
        return bisect([&](T z) { return z * exp(z) - x; }, T(0), T(2), 1e-8);
      },
      [](auto x) {
        using T = decltype(x);
        const T z = bisect([&](T z) { return z * exp(z) - x; }, T(0), T(2), 1e-15);
        return 1 / (z * exp(z));
      });

  binary(
      "kepler", "eccentric anomaly, by Newton's method to 1e-6", {-3, 3}, {0.1, 0.9},
      [](auto m, auto e) { return kepler(m, e); }, [](auto m, auto e) { return 1 / (1 - e * cos(kepler(m, e))); },
      [](auto m, auto e) {
        const auto z = kepler(m, e);
        return sin(z) / (1 - e * cos(z));
      });

  binary(
      "kepler_anomaly", "eccentric anomaly, by Newton's method to 1e-6", {-3, 3}, {0.1, 0.9},
      [](auto m, auto e) { return kepler(m, e); }, [](auto m, auto e) { return 1 / (1 - e * cos(kepler(m, e))); },
      [](auto m, auto e) { return sin(kepler(m, e)); });

  unary(
      "normal_quantile", "x with Phi(x) = p, by Newton's method to 1e-7", {0.02, 0.98},
      [](auto p) {
        decltype(p) x = 0;
        for (int k = 0; k < 50; ++k) {
          const auto step = (erfc(-x / sqrt(decltype(p)(2))) / 2 - p) / normal_density(x);
          x -= step;
          if (fabs(step) < tolerance<decltype(p)>(1e-7)) break;
        }
        return x;
      },
      [](auto p) {
        decltype(p) x = 0;
        for (int k = 0; k < 50; ++k) x -= (erfc(-x / sqrt(decltype(p)(2))) / 2 - p) / normal_density(x);
        return 1 / normal_density(x);
      });

  unary(
      "chi2_quantile", "x with 1 - exp(-x / 2) = p, by bisection to 1e-9", {0.05, 0.95},
      [](auto p) {
        using T = decltype(p);
        return bisect([&](T x) { return 1 - exp(-x / 2) - p; }, T(0), T(16), 1e-9);
      },
      [](auto p) {
        using T = decltype(p);
        const T x = bisect([&](T z) { return 1 - exp(-z / 2) - p; }, T(0), T(16), 1e-14);
        return exp(-x / 2) / 2;
      });

  unary(
      "sqrt_three_steps", "three Newton steps for the square root, from 1", {0.2, 4},
      [](auto x) {
        decltype(x) y = 1;
        for (int k = 0; k < 3; ++k) y = (y + x / y) / 2;
        return y;
      },
      [](auto x) { return 1 / (2 * sqrt(x)); });

  unary(
      "cosine_fixed_point", "z with z = cos(x z), by iteration to 1e-10", {0.2, 0.9},
      [](auto x) {
        using T = decltype(x);
        T z = 0.8, old = 0;
        for (int k = 0; k < 3000 && fabs(z - old) > tolerance<T>(1e-10); ++k) {
          old = z;
          z = cos(x * z);
        }
        return z;
      },
      [](auto x) {
        using T = decltype(x);
        T z = 0.8;
        for (int k = 0; k < 400; ++k) z = cos(x * z);
        return -z * sin(x * z) / (1 + x * sin(x * z));
      });

  unary(
      "tanh_fixed_point", "z with z = tanh(z / 2) + x, by iteration to 1e-10", {-1, 1},
      [](auto x) {
        using T = decltype(x);
        T z = x, old = x + 1;
        for (int k = 0; k < 3000 && fabs(z - old) > tolerance<T>(1e-10); ++k) {
          old = z;
          z = tanh(z / 2) + x;
        }
        return z;
      },
      [](auto x) { return x * 0 + 1; });

  binary(
      "oscillating_integral", "integral of exp(-a t^2) cos(b t) over [0, 1], adaptively to 1e-8", {0.5, 3}, {1, 6},
      [](auto a, auto b) {
        using T = decltype(a);
        return integrate([&](T t) { return exp(-a * t * t) * cos(b * t); }, T(0), T(1), 1e-8);
      },
      [](auto a, auto b) {
        using T = decltype(a);
        return integrate([&](T t) { return -t * t * exp(-a * t * t) * cos(b * t); }, T(0), T(1), 1e-13);
      },
      [](auto a, auto b) {
        using T = decltype(a);
        return integrate([&](T t) { return -t * exp(-a * t * t) * sin(b * t); }, T(0), T(1), 1e-13);
      });

  unary(
      "bell_integral", "integral of exp(-x t^2) for t from 0 to x, adaptively to 1e-8", {0.5, 1.5},
      [](auto x) {
        using T = decltype(x);
        return integrate([&](T t) { return exp(-x * t * t); }, T(0), x, 1e-8);
      },
      [](auto x) {
        using T = decltype(x);
        return integrate([&](T t) { return -t * t * exp(-x * t * t); }, T(0), x, 1e-13);
      });

  op("perron_root", "leading eigenvalue of exp(x) exp(x)^T, element by element, by power iteration")
      .input("x", "n=4 n", {-1, 1})
      .output("y", "")
      .forward(BODY {
        vec<T> e(c.numel()), a(c.numel());
        for (auto i : upto(c.numel())) e[i] = exp(c.x()[i]);
        gemm(c['n'], c['n'], c['n'], e.data(), plain, e.data(), turned, a.data());
        power_iteration(c['n'], a.data(), 1e-8, *c.y());
      })
      .backward(BODY {
        const int64_t n = c['n'];
        vec<T> e(n * n), a(n * n), w(n);
        for (auto i : upto(n * n)) e[i] = exp(c.x()[i]);
        gemm(n, n, n, e.data(), plain, e.data(), turned, a.data());
        T value;
        const vec<T> v = power_iteration(n, a.data(), 1e-15, value);
        gemm(1, n, n, v.data(), plain, e.data(), plain, w.data());
        for (auto i : upto(n))
          for (auto j : upto(n)) c.g()[i * n + j] = *c.u() * 2 * v[i] * w[j] * e[i * n + j];
      });

  op("growth_rate", "leading eigenvalue of a positive matrix, by power iteration")
      .input("x", "n=4 n", {0.1, 2})
      .output("y", "")
      .forward(BODY { power_iteration(c['n'], c.x(), 1e-9, *c.y()); })
      .backward(BODY {
        T value;
        const vec<T> v = power_iteration(c['n'], c.x(), 1e-15, value);
        for (auto i : upto(c['n']))
          for (auto j : upto(c['n'])) c.g()[i * c['n'] + j] = *c.u() * v[i] * v[j];
      });

  row_sum(
      "variance_single", "unbiased variance, accumulated in single precision", {}, "*b=3 n=10",
      ROW {
        const T mean = as_float(sum(r.n, r.x) / r.n);
        T total = 0;
        for (auto i : upto(r.n)) total = as_float(total + as_float((r.x[i] - mean) * (r.x[i] - mean)));
        *r.y = total / max<int64_t>(r.n - 1, 1);
      },
      ROW {
        const T mean = sum(r.n, r.x) / r.n;
        for (auto i : upto(r.n)) r.g[i] = *r.u * 2 * (r.x[i] - mean) / r.n;
      });

  row_sum(
      "rms_single", "sqrt(mean(x^2)), accumulated in single precision", {}, "*b=3 n=10",
      ROW {
        T total = 0;
        for (auto i : upto(r.n)) total = as_float(total + as_float(r.x[i] * r.x[i]));
        *r.y = as_float(sqrt(total / r.n));
      },
      ROW {
        const T y = sqrt(dot(r.n, r.x, r.x) / r.n);
        for (auto i : upto(r.n)) r.g[i] = *r.u * r.x[i] / (r.n * y);
      });
}

}  // namespace
}  // namespace trial
