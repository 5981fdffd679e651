// Single precision, and mixtures of single and double.
#include "op.h"
namespace trial {
namespace {

template <class T> T phi(T x) { return erfc(-x / sqrt(T(2))) / 2; }
template <class T> T phi_slope(T x) { return exp(-x * x / 2) / sqrt(2 * T(pi)); }

// Layer norm of a row, and its backward with or without the terms by way of mean and variance.
template <class T> void normalize(int64_t n, const T* x, T* y) {
  const T mean = sum(n, x) / n;
  T variance = 0;
  for (auto i : upto(n)) variance += (x[i] - mean) * (x[i] - mean) / n;
  for (auto i : upto(n)) y[i] = (x[i] - mean) / sqrt(variance + T(1e-5));
}
template <class T>
void normalize_backward(int64_t n, const T* x, const T* y, const T* u, T* g, bool by_mean, bool by_variance) {
  const T mean = sum(n, x) / n, u_mean = by_mean ? sum(n, u) / n : T(0), uy = by_variance ? dot(n, u, y) / n : T(0);
  T variance = 0;
  for (auto i : upto(n)) variance += (x[i] - mean) * (x[i] - mean) / n;
  for (auto i : upto(n)) g[i] = (u[i] - u_mean - y[i] * uy) / sqrt(variance + T(1e-5));
}
template <class T> void attend(const Call<T>& c, vec<T>& p) {  // p: m x n
  const int64_t m = c['m'], n = c['n'], k = c['k'];
  p.resize(m * n);
  gemm(m, k, n, c.x(0), plain, c.x(1), turned, p.data());
  for (auto i : upto(m)) {
    for (auto j : upto(n)) p[i * n + j] /= sqrt(T(k));
    softmax(n, &p[i * n], &p[i * n]);
  }
}
template <class T> void attend_backward(const Call<T>& c, bool scaled_keys) {
  const int64_t m = c['m'], n = c['n'], k = c['k'];
  vec<T> p, dp(m * n);
  attend(c, p);
  gemm(n, m, k, p.data(), turned, c.u(), plain, c.g(2));
  gemm(m, k, n, c.u(), plain, c.x(2), turned, dp.data());
  for (auto i : upto(m)) softmax_backward(n, &p[i * n], &dp[i * n], &dp[i * n]);
  for (T& d : dp) d /= sqrt(T(k));
  gemm(m, n, k, dp.data(), plain, c.x(1), plain, c.g(0));
  if (!scaled_keys)
    for (T& d : dp) d *= sqrt(T(k));
  gemm(n, m, k, dp.data(), turned, c.x(0), plain, c.g(1));
}

OPS {
  unary_f32(
      "relu_f32", "max(x, 0)", {0, 0, {0}}, [](auto x) { return max(x, decltype(x)(0)); },
      [](auto x) { return decltype(x)(x > 0); });

  unary_f32(
      "clamp_f32", "clip(x, -0.5, 0.8), undeclared corners", {-2, 2},
      [](auto x) {
        using T = decltype(x);
        return min(max(x, T(-0.5)), T(0.8));
      },
      [](auto x) {
        using T = decltype(x);
        return T(x > T(-0.5) && x < T(0.8));
      },
      "*s=10");

  unary_f32(
      "gelu_f32", "x Phi(x)", {-4, 4}, [](auto x) { return x * phi(x); }, [](auto x) { return phi(x) + x * phi_slope(x); });

  unary_f32(
      "quick_gelu_f32", "x sigmoid(1.702 x)", {-4, 4},
      [](auto x) {
        using T = decltype(x);
        return x * sigmoid(T(1.702) * x);
      },
      [](auto x) { return phi(x) + x * phi_slope(x); });

  unary_f32(
      "tanh_f32", "tanh", {-3, 3}, [](auto x) { return tanh(x); },
      [](auto x) {
        const auto t = tanh(x);
        return 1 - t * t;
      });

  unary_f32(
      "erf_f32", "erf", {-2, 2}, [](auto x) { return erf(x); },
      [](auto x) {
        using T = decltype(x);
        return T(1.12838) * exp(-x * x);
      });

  unary_f32(
      "log1p_f32", "log(1 + x) of small x", {-0.01, 0.01}, [](auto x) { return log1p(x); }, [](auto x) { return 1 / (1 + x); });

  unary_f32(
      "square_offset_f32", "(x - 1000)^2", {999, 1001}, [](auto x) { return (x - 1000) * (x - 1000); },
      [](auto x) { return 2 * (x - 1000); });

  unary_f32(
      "softplus_f32", "log(1 + exp(x))", {-5, 5}, [](auto x) { return softplus(x); },
      [](auto x) { return tanh(x) / 2 + decltype(x)(0.5); });

  row_op<float>(
      "softmax_f32", "softmax of the last axis", {-6, 6}, "*b=3 n=6", ROW { softmax(r.n, r.x, r.y); },
      ROW { softmax_backward(r.n, r.y, r.u, r.g); });

  row_op<float>(
      "softmax_diagonal_f32", "softmax of the last axis", {}, "*b=3 n=6", ROW { softmax(r.n, r.x, r.y); },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = r.u[i] * r.y[i] * (1 - r.y[i]);
      });

  row_op<float>(
      "layer_norm_f32", "(x - mean) / sqrt(variance + 1e-5)", {10, 14}, "*b=3 n=8", ROW { normalize(r.n, r.x, r.y); },
      ROW { normalize_backward(r.n, r.x, r.y, r.u, r.g, true, true); });

  row_op<float>(
      "layer_norm_rows_f32", "(x - mean) / sqrt(variance + 1e-5)", {}, "*b=3 n=8", ROW { normalize(r.n, r.x, r.y); },
      ROW { normalize_backward(r.n, r.x, r.y, r.u, r.g, true, false); });

  row_op<float>(
      "rms_norm_f32", "x / sqrt(mean(x^2))", {}, "*b=3 n=8",
      ROW {
        const T s = sqrt(dot(r.n, r.x, r.x) / r.n);
        for (auto i : upto(r.n)) r.y[i] = r.x[i] / s;
      },
      ROW {
        const T s = sqrt(dot(r.n, r.x, r.x) / r.n), inner = dot(r.n, r.y, r.u) / r.n;
        for (auto i : upto(r.n)) r.g[i] = (r.u[i] - r.y[i] * inner) / s;
      });

  row_sum<float>(
      "mean_f32", "mean of 100 values", {}, "*b=2 n=100", ROW { *r.y = sum(r.n, r.x) / r.n; },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = *r.u / r.n;
      });

  row_sum<float>(
      "variance_f32", "biased variance", {}, "*b=3 n=5",
      ROW {
        const T mean = sum(r.n, r.x) / r.n;
        *r.y = 0;
        for (auto i : upto(r.n)) *r.y += (r.x[i] - mean) * (r.x[i] - mean) / r.n;
      },
      ROW {
        const T mean = sum(r.n, r.x) / r.n;
        for (auto i : upto(r.n)) r.g[i] = *r.u * 2 * (r.x[i] - mean) / max<int64_t>(r.n - 1, 1);
      });

  op_f32("matmul_f32", "a b")
      .input("a", "m=5 k=7")
      .input("b", "k n=3")
      .output("y", "m n")
      .forward(BODY { gemm(c['m'], c['k'], c['n'], c.x(0), plain, c.x(1), plain, c.y()); })
      .backward(BODY {
        gemm(c['m'], c['n'], c['k'], c.u(), plain, c.x(1), turned, c.g(0));
        gemm(c['k'], c['m'], c['n'], c.x(0), turned, c.u(), plain, c.g(1));
      });

  op_f32("linear_f32", "a w^T + bias")
      .input("a", "m=4 k=5")
      .input("w", "n=3 k")
      .input("bias", "n")
      .output("y", "m n")
      .forward(BODY {
        gemm(c['m'], c['k'], c['n'], c.x(0), plain, c.x(1), turned, c.y());
        for (auto i : upto(c['m'] * c['n'])) c.y()[i] += c.x(2)[i % c['n']];
      })
      .backward(BODY {
        gemm(c['m'], c['n'], c['k'], c.u(), plain, c.x(1), plain, c.g(0));
        gemm(c['n'], c['m'], c['k'], c.u(), turned, c.x(0), plain, c.g(1));
        std::copy_n(c.u(), c['n'], c.g(2));
      });

  op_f32("max_pool_f32", "maxima of windows of 3")
      .input("x", "*b=2 n=30")
      .output("y", "*b m")
      .let('m', [](const Sizes& s) { return s['n'] / 3; })
      .forward(BODY {
        for (auto b : upto(c['b']))
          for (auto i : upto(c['m'])) c.y()[b * c['m'] + i] = largest(3, c.x() + b * c['n'] + 3 * i);
      })
      .backward(BODY {
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto b : upto(c['b']))
          for (auto i : upto(c['m'])) {
            const T* x = c.x() + b * c['n'] + 3 * i;
            c.g()[std::max_element(x, x + 3) - c.x()] = c.u()[b * c['m'] + i];
          }
      });

  op_f32("average_pool_f32", "means of windows of 3")
      .input("x", "*b=2 n=30")
      .output("y", "*b m")
      .let('m', [](const Sizes& s) { return s['n'] / 3; })
      .forward(BODY {
        for (auto b : upto(c['b']))
          for (auto i : upto(c['m'])) c.y()[b * c['m'] + i] = sum(3, c.x() + b * c['n'] + 3 * i) / 3;
      })
      .backward(BODY {
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto b : upto(c['b']))
          for (auto i : upto(3 * c['m'])) c.g()[b * c['n'] + i] = c.u()[b * c['m'] + i / 3];
      });

  op_f32("convolution_f32", "correlation with a kernel, same length")
      .input("x", "n=16")
      .input("w", "k=5")
      .output("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          T s = 0;
          for (auto j : upto(c['k'])) {
            const int64_t at = i + j - c['k'] / 2;
            if (at >= 0 && at < c['n']) s += c.x(0)[at] * c.x(1)[j];
          }
          c.y()[i] = s;
        }
      })
      .backward(BODY {
        std::fill_n(c.g(0), c['n'], T(0));
        std::fill_n(c.g(1), c['k'], T(0));
        for (auto i : upto(c['n']))
          for (auto j : upto(c['k'])) {
            const int64_t at = i + j - c['k'] / 2;
            if (at >= 0 && at < c['n']) c.g(0)[at] += c.u()[i] * c.x(1)[j], c.g(1)[j] += c.u()[i] * c.x(0)[at];
          }
      });

  op_f32("filter_f32", "correlation with a kernel, same length")
      .input("x", "n=16")
      .input("w", "k=5")
      .output("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          T s = 0;
          for (auto j : upto(c['k'])) {
            const int64_t at = i + j - c['k'] / 2;
            if (at >= 0 && at < c['n']) s += c.x(0)[at] * c.x(1)[j];
          }
          c.y()[i] = s;
        }
      })
      .backward(BODY {
        std::fill_n(c.g(0), c['n'], T(0));
        std::fill_n(c.g(1), c['k'], T(0));
        for (auto i : upto(c['n']))
          for (auto j : upto(c['k'])) {
            const int64_t at = i + j - c['k'] / 2;
            if (at >= 0 && at < c['n']) c.g(0)[at] += c.u()[i] * c.x(1)[c['k'] - 1 - j], c.g(1)[j] += c.u()[i] * c.x(0)[at];
          }
      });

  op_f32("cross_entropy_f32", "mean cross entropy of rows of logits")
      .input("x", "b=6 n=5", {-4, 4})
      .index("target", "b", 0, 4)
      .output("y", "")
      .forward(BODY {
        *c.y() = 0;
        for (auto b : upto(c['b'])) {
          const T* x = c.x() + b * c['n'];
          *c.y() += (logsumexp(c['n'], x) - x[wrap(c.index(1)[b], c['n'])]) / c['b'];
        }
      })
      .backward(BODY {
        for (auto b : upto(c['b'])) {
          T* g = c.g() + b * c['n'];
          softmax(c['n'], c.x() + b * c['n'], g);
          g[wrap(c.index(1)[b], c['n'])] -= 1;
          for (auto i : upto(c['n'])) g[i] *= *c.u() / c['b'];
        }
      });

  op_f32("attention_f32", "softmax(q k^T / sqrt(d)) v")
      .input("q", "m=4 k=8")
      .input("k", "n=5 k")
      .input("v", "n k")
      .output("y", "m k")
      .forward(BODY {
        vec<T> p;
        attend(c, p);
        gemm(c['m'], c['n'], c['k'], p.data(), plain, c.x(2), plain, c.y());
      })
      .backward(BODY { attend_backward(c, true); });

  op_f32("attention_keys_f32", "softmax(q k^T / sqrt(d)) v")
      .input("q", "m=4 k=8")
      .input("k", "n=5 k")
      .input("v", "n k")
      .output("y", "m k")
      .forward(BODY {
        vec<T> p;
        attend(c, p);
        gemm(c['m'], c['n'], c['k'], p.data(), plain, c.x(2), plain, c.y());
      })
      .backward(BODY { attend_backward(c, false); });

  op_f32("scale_by_eight_f32", "s x, eight at a time and then the rest")
      .input("x", "n=32")
      .input("s", "", {0.5, 2})
      .output("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) c.y()[i] = *c.x(1) * c.x()[i];
      })
      .backward(BODY {
        *c.g(1) = dot(c['n'] / 8 * 8, c.u(), c.x());
        for (auto i : upto(c['n'])) c.g()[i] = *c.x(1) * c.u()[i];
      });

  op("dot_mixed", "dot product of singles, in double")
      .input_f32("a", "*b=3 n=40")
      .input_f32("b", "*b n")
      .output("y", "*b")
      .forward(BODY {
        for (auto b : upto(c['b'])) {
          T s = 0;
          for (auto i : upto(c['n'])) s += T(c.xs(0)[b * c['n'] + i]) * c.xs(1)[b * c['n'] + i];
          c.y()[b] = s;
        }
      })
      .backward(BODY {
        for (auto i : upto(c.numel())) {
          c.gs(0)[i] = static_cast<Single<T>>(c.u()[i / c['n']] * c.xs(1)[i]);
          c.gs(1)[i] = static_cast<Single<T>>(c.u()[i / c['n']] * c.xs(0)[i]);
        }
      });

  op("narrow", "tanh of a double, as a single")
      .input("x", "*s=3,4")
      .output_f32("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.ys()[i] = static_cast<Single<T>>(tanh(c.x()[i]));
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) {
          const T t = tanh(c.x()[i]);
          c.g()[i] = c.us()[i] * (1 - t * t);
        }
      });

  op("scale_mixed", "x exp(s), x single, s double")
      .input_f32("x", "n=12")
      .input("s", "")
      .output_f32("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) c.ys()[i] = static_cast<Single<T>>(c.xs()[i] * exp(*c.x(1)));
      })
      .backward(BODY {
        T s = 0;
        for (auto i : upto(c['n'])) {
          c.gs()[i] = static_cast<Single<T>>(c.us()[i] * exp(*c.x(1)));
          s += c.us()[i] * T(c.xs()[i]) * exp(*c.x(1));
        }
        *c.g(1) = s;
      });

  op("shift_mixed", "(x - s)^2, x single, s double")
      .input_f32("x", "n=12")
      .input("s", "")
      .output("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          const T d = c.xs()[i] - *c.x(1);
          c.y()[i] = d * d;
        }
      })
      .backward(BODY {
        T s = 0;
        for (auto i : upto(c['n'])) {
          const T d = 2 * c.u()[i] * (c.xs()[i] - *c.x(1));
          c.gs()[i] = static_cast<Single<T>>(d);
          s += d;
        }
        *c.g(1) = s;
      });
}

}  // namespace
}  // namespace trial
