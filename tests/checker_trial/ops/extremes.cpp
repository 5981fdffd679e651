// Infinite, huge and tiny values.
#include "op.h"
namespace trial {
namespace {

template <class T> constexpr T minus_infinity = T(-HUGE_VAL);
bool kept(const int64_t* mask, int64_t i, int64_t n) { return i % n == 0 || mask[i] > 0; }  // the first of a row always is
template <class T> T digamma_large(T x) {
  const T s = 1 / (x * x);
  return log(x) - 1 / (2 * x) - s * (T(1) / 12 - s * (T(1) / 120 - s / 252));
}
// Norm of a row, scaled by its largest element.
template <class T> T scaled_norm(int64_t n, const T* x) {
  T top = 0, total = 0;
  for (auto i : upto(n)) top = max(top, fabs(x[i]));
  for (auto i : upto(n)) total += (x[i] / top) * (x[i] / top);
  return top * sqrt(total);
}
template <class T> void masked_row(const Call<T>& c, int64_t b, vec<T>& z) {
  z.assign(c.x() + b * c['n'], c.x() + (b + 1) * c['n']);
  for (auto i : upto(c['n']))
    if (i && c.index(1)[b * c['n'] + i] <= 0) z[i] = minus_infinity<T>;
}

OPS {
  op("masked_softmax", "softmax, -inf where the mask is 0")
      .input("x", "b=3 n=6")
      .index("mask", "b n", 0, 1)
      .output("y", "b n")
      .forward(BODY {
        vec<T> z;
        for (auto b : upto(c['b'])) {
          masked_row(c, b, z);
          softmax(c['n'], z.data(), c.y() + b * c['n']);
        }
      })
      .backward(BODY {
        for (auto b : upto(c['b'])) softmax_backward(c['n'], c.y() + b * c['n'], c.u() + b * c['n'], c.g() + b * c['n']);
      });

  op("masked_logsumexp", "log(sum(exp(x))), -inf where the mask is 0")
      .input("x", "b=3 n=6", {-30, 30})
      .index("mask", "b n", 0, 1)
      .output("y", "b")
      .forward(BODY {
        vec<T> z;
        for (auto b : upto(c['b'])) {
          masked_row(c, b, z);
          c.y()[b] = logsumexp(c['n'], z.data());
        }
      })
      .backward(BODY {
        vec<T> z;
        for (auto b : upto(c['b'])) {
          masked_row(c, b, z);
          for (auto i : upto(c['n'])) c.g()[b * c['n'] + i] = c.u()[b] * exp(z[i] - c.y()[b]);
        }
      });

  op("logsumexp_masked", "log(sum(exp(x))), -inf where the mask is 0")
      .input("x", "b=5 n=8")
      .index("mask", "b n", 0, 1)
      .output("y", "b")
      .forward(BODY {
        vec<T> z;
        for (auto b : upto(c['b'])) {
          masked_row(c, b, z);
          c.y()[b] = logsumexp(c['n'], z.data());
        }
      })
      .backward(BODY {
        for (auto i : upto(c.numel())) c.g()[i] = c.u()[i / c['n']] * exp(c.x()[i] - c.y()[i / c['n']]);
      });

  op("masked_log", "log(x), -inf where the mask is 0")
      .input("x", "b=3 n=5", {0.1, 3})
      .index("mask", "b n", 0, 1)
      .output("y", "b n")
      .forward(BODY {
        for (auto i : upto(c.numel())) c.y()[i] = kept(c.index(1), i, c['n']) ? log(c.x()[i]) : minus_infinity<T>;
      })
      .backward(BODY {
        for (auto i : upto(c.numel())) c.g()[i] = kept(c.index(1), i, c['n']) ? c.u()[i] / c.x()[i] : T(0);
      });

  op("mask_far", "x, or -1e9 where the mask is 0")
      .input("x", "b=6 n=6")
      .index("mask", "b n", 0, 1)
      .output("y", "b n")
      .forward(BODY {
        for (auto i : upto(c.numel())) c.y()[i] = kept(c.index(1), i, c['n']) ? c.x()[i] : T(-1e9);
      })
      .backward(BODY { std::copy_n(c.u(), c.numel(), c.g()); });

  unary("exp_high", "exp close to overflow", {680, 700}, [](auto x) { return exp(x); }, [](auto x) { return exp(x); });

  unary("sinh_high", "sinh close to overflow", {600, 700}, [](auto x) { return sinh(x); }, [](auto x) { return cosh(x); });

  unary("cube_huge", "x^3 of values of 1e60", {1e60, 3e60}, [](auto x) { return x * x * x; }, [](auto x) { return 3 * x * x; });

  unary(
      "square_denormal", "x^2 that is a denormal number, or almost", {1e-158, 1e-154}, [](auto x) { return x * x; },
      [](auto x) { return 2 * x; });

  unary(
      "log_of_tiny", "log of values of 1e-300", {1e-304, 1e-300}, [](auto x) { return log(x); }, [](auto x) { return 1 / x; });

  unary(
      "power_fifty", "x^50", {1e3, 1e5}, [](auto x) { return pow(x, decltype(x)(50)); },
      [](auto x) { return 50 * pow(x, decltype(x)(49)); });

  unary(
      "power_forty", "x^40", {1e3, 1e5}, [](auto x) { return pow(x, decltype(x)(40)); },
      [](auto x) { return 40 * pow(x, decltype(x)(40)); });

  unary(
      "gamma_high", "gamma function of 100 to 165", {100, 165}, [](auto x) { return tgamma(x); },
      [](auto x) { return tgamma(x) * digamma_large(x); });

  unary(
      "gamma_large", "gamma function of 100 to 150", {100, 150}, [](auto x) { return tgamma(x); },
      [](auto x) { return tgamma(x) * log(x); });

  unary(
      "scale_huge", "1e40 x", {}, [](auto x) { return 1e40 * x; },
      [](auto x) {
        const float root = 1e20f;
        return decltype(x)(root * root);
      });

  unary("scale_tiny", "1e-290 x^2", {}, [](auto x) { return 1e-290 * x * x; }, [](auto x) { return 2e-290 * x; });

  unary(
      "rsqrt_tiny", "1 / sqrt(x)", {1e-180, 1e-170}, [](auto x) { return 1 / sqrt(x); },
      [](auto x) {
        const double z = static_cast<double>(x);
        return decltype(x)(-0.5 / std::sqrt(z * z * z));
      });

  unary(
      "rsqrt_of_tiny", "1 / sqrt(x)", {1e-150, 1e-140}, [](auto x) { return 1 / sqrt(x); },
      [](auto x) { return -0.5 / (x * sqrt(x)); });

  unary(
      "log_sigmoid_low", "log(sigmoid(x)) of x below -750", {-800, -750}, [](auto x) { return -softplus(-x); },
      [](auto x) {
        const double e = std::exp(-static_cast<double>(x));
        return decltype(x)(e / (1 + e));
      });

  binary(
      "hypot_huge", "sqrt(a^2 + b^2) of values of 1e200", {-1e200, 1e200}, {-1e200, 1e200},
      [](auto a, auto b) { return hypot(a, b); }, [](auto a, auto b) { return a / hypot(a, b); },
      [](auto a, auto b) { return b / hypot(a, b); });

  binary(
      "hypot_tiny", "sqrt(a^2 + b^2) of values of 1e-200", {-1e-200, 1e-200}, {-1e-200, 1e-200},
      [](auto a, auto b) { return hypot(a, b); },
      [](auto a, auto b) {
        const double x = static_cast<double>(a), y = static_cast<double>(b);
        return decltype(a)(x / std::sqrt(x * x + y * y));
      },
      [](auto a, auto b) {
        const double x = static_cast<double>(a), y = static_cast<double>(b);
        return decltype(a)(y / std::sqrt(x * x + y * y));
      });

  row_sum(
      "norm_huge", "norm of values of 1e200", {-1e200, 1e200}, "*b=3 n=5", ROW { *r.y = scaled_norm(r.n, r.x); },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = *r.u * (r.x[i] / *r.y);
      });

  row_sum(
      "norm_large", "norm of values of 1e200", {-1e200, 1e200}, "*b=3 n=5", ROW { *r.y = scaled_norm(r.n, r.x); },
      ROW {
        double total = 0;
        for (auto i : upto(r.n)) total += static_cast<double>(r.x[i]) * static_cast<double>(r.x[i]);
        for (auto i : upto(r.n)) r.g[i] = *r.u * (r.x[i] / T(std::sqrt(total)));
      });

  row_sum(
      "deviation_offset", "standard deviation of values of 1e8 + (0, 1)", {1e8, 1e8 + 1}, "*b=3 n=8",
      ROW {
        const T mean = sum(r.n, r.x) / r.n;
        T total = 0;
        for (auto i : upto(r.n)) total += (r.x[i] - mean) * (r.x[i] - mean) / r.n;
        *r.y = sqrt(total);
      },
      ROW {
        double first = 0, second = 0;
        for (auto i : upto(r.n))
          first += static_cast<double>(r.x[i]) / r.n, second += static_cast<double>(r.x[i]) * static_cast<double>(r.x[i]) / r.n;
        for (auto i : upto(r.n))
          r.g[i] = *r.u * (r.x[i] - first) / (r.n * T(std::sqrt(std::fabs(second - first * first) + 1e-12)));
      })
      .require("needs two values", [](const Sizes& s) { return s['n'] > 1; });

  row_sum(
      "likelihood", "product of nine probabilities of 1e-30", {1e-31, 1e-29}, "*b=3 n=9",
      ROW {
        *r.y = 1;
        for (auto i : upto(r.n)) *r.y *= r.x[i];
      },
      ROW {
        for (auto i : upto(r.n)) {
          r.g[i] = *r.u;
          for (auto j : upto(r.n))
            if (j != i) r.g[i] *= r.x[j];
        }
      });

  op("log_density_sharp", "normal log density with a deviation of some 1e-8")
      .input("x", "n=6", {-1e-8, 1e-8})
      .input("s", "n", {1e-8, 3e-8})
      .output("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          const T z = c.x(0)[i] / c.x(1)[i];
          c.y()[i] = -z * z / 2 - log(c.x(1)[i]);
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          const T z = c.x(0)[i] / c.x(1)[i];
          c.g(0)[i] = -c.u()[i] * z / c.x(1)[i];
          c.g(1)[i] = c.u()[i] * (z * z - 1) / c.x(1)[i];
        }
      });

  op("log_density", "normal log density")
      .input("x", "n=6")
      .input("s", "n", {0.5, 2})
      .output("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          const T z = c.x(0)[i] / c.x(1)[i];
          c.y()[i] = -z * z / 2 - log(c.x(1)[i]);
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          const T z = c.x(0)[i] / c.x(1)[i];
          c.g(0)[i] = -c.u()[i] * z / c.x(1)[i];
          c.g(1)[i] = c.u()[i] * z * z / c.x(1)[i];
        }
      });

  row_op(
      "clip_norm", "x, scaled down to norm 1 if that is exceeded", {1, 3}, "*b=3 n=4",
      ROW {
        const T norm = scaled_norm(r.n, r.x), s = norm > 1 ? 1 / norm : T(1);
        for (auto i : upto(r.n)) r.y[i] = s * r.x[i];
      },
      ROW {
        const T norm = scaled_norm(r.n, r.x), s = norm > 1 ? 1 / norm : T(1);
        for (auto i : upto(r.n)) r.g[i] = s * r.u[i];
      });
}

}  // namespace
}  // namespace trial
