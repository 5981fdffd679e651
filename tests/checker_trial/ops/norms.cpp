// Normalizations, statistics and distances.
#include "op.h"
namespace trial {
namespace {

// Moments of the elements at(k), k < n.
template <class T, class At> void moments(int64_t n, At at, T& mean, T& variance) {
  mean = variance = 0;
  for (auto k : upto(n)) mean += at(k);
  mean /= n;
  for (auto k : upto(n)) variance += (at(k) - mean) * (at(k) - mean) / n;
}
template <class T> void layer_norm(int64_t n, const T* x, T* y, double eps) {
  T mean, variance;
  moments(n, [&](int64_t k) { return x[k]; }, mean, variance);
  for (auto k : upto(n)) y[k] = (x[k] - mean) / sqrt(variance + eps);
}
template <class T> void layer_norm_backward(int64_t n, const T* x, const T* u, T* g, double eps, int64_t divisor) {
  T mean, variance, u_sum = 0, u_y = 0;
  moments(n, [&](int64_t k) { return x[k]; }, mean, variance);
  const T s = sqrt(variance + eps);
  for (auto k : upto(n)) u_sum += u[k], u_y += u[k] * (x[k] - mean) / s;
  for (auto k : upto(n)) g[k] = (u[k] - u_sum / divisor - (x[k] - mean) / s * u_y / divisor) / s;
}

OPS {
  row_op(
      "layer_norm_offset", "(x - mean) / sqrt(variance) of values of 1e6 + (0, 1)", {1e6, 1e6 + 1}, "*b=3 n=8",
      ROW { layer_norm(r.n, r.x, r.y, 1e-8); }, ROW { layer_norm_backward(r.n, r.x, r.u, r.g, 1e-8, r.n); });

  row_op(
      "layer_norm_square", "(x - mean) / sqrt(variance + 1e-5)", {}, "b=6 n=6", ROW { layer_norm(r.n, r.x, r.y, 1e-5); },
      ROW { layer_norm_backward(r.n, r.x, r.u, r.g, 1e-5, r['b']); });

  op("layer_norm_eps", "(x - mean) / sqrt(variance + eps)")
      .input("x", "*b=3 n=8")
      .output("y", "*b n")
      .attribute("eps", 1e-5, 1e-12, 10)
      .forward(BODY {
        for (auto b : upto(c['b'])) layer_norm(c['n'], c.x() + b * c['n'], c.y() + b * c['n'], c.a("eps"));
      })
      .backward(BODY {
        for (auto b : upto(c['b']))
          layer_norm_backward(c['n'], c.x() + b * c['n'], c.u() + b * c['n'], c.g() + b * c['n'], 1e-5, c['n']);
      });

  op("layer_norm_affine", "w (x - mean) / sqrt(variance + eps) + bias")
      .input("x", "b=4 n=6")
      .input("w", "n")
      .input("bias", "n")
      .output("y", "b n")
      .attribute("eps", 1e-5, 1e-12, 10)
      .forward(BODY {
        for (auto b : upto(c['b'])) layer_norm(c['n'], c.x() + b * c['n'], c.y() + b * c['n'], c.a("eps"));
        for (auto k : upto(c.numel())) c.y()[k] = c.y()[k] * c.x(1)[k % c['n']] + c.x(2)[k % c['n']];
      })
      .backward(BODY {
        vec<T> v(c['n']), z(c['n']);
        std::fill_n(c.g(1), c['n'], T(0));
        std::fill_n(c.g(2), c['n'], T(0));
        for (auto b : upto(c['b'])) {
          const T *x = c.x() + b * c['n'], *u = c.u() + b * c['n'];
          layer_norm(c['n'], x, z.data(), c.a("eps"));
          for (auto k : upto(c['n'])) v[k] = u[k] * c.x(1)[k], c.g(1)[k] += u[k] * z[k], c.g(2)[k] += u[k];
          layer_norm_backward(c['n'], x, v.data(), c.g() + b * c['n'], c.a("eps"), c['n']);
        }
      });

  op("group_norm", "(x - mean) / sqrt(variance + 1e-5) over groups of channels, with weights")
      .input("x", "b=2 c=6 n=5")
      .input("w", "c")
      .output("y", "b c n")
      .attribute("groups", 3, 1, 64)
      .require("channels must be a multiple of groups", [](const Sizes& s) { return s['c'] % s.n("groups") == 0; })
      .forward(BODY {
        const int64_t size = c['c'] / c.n("groups") * c['n'];
        for (auto i : upto(c.numel() / size)) layer_norm(size, c.x() + i * size, c.y() + i * size, 1e-5);
        for (auto k : upto(c.numel())) c.y()[k] *= c.x(1)[k / c['n'] % c['c']];
      })
      .backward(BODY {
        const int64_t size = c['c'] / c.n("groups") * c['n'];
        vec<T> v(c.numel()), z(c.numel());
        std::fill_n(c.g(1), c['c'], T(0));
        for (auto i : upto(c.numel() / size)) layer_norm(size, c.x() + i * size, &z[i * size], 1e-5);
        for (auto k : upto(c.numel())) {
          const int64_t ch = k / c['n'] % c['c'];
          v[k] = c.u()[k] * c.x(1)[ch];
          c.g(1)[ch] += c.u()[k] * z[k];
        }
        for (auto i : upto(c.numel() / size))
          layer_norm_backward(size, c.x() + i * size, &v[i * size], c.g() + i * size, 1e-5, size);
      });

  op("group_norm_weights", "(x - mean) / sqrt(variance + 1e-5) over pairs of channels, with weights")
      .input("x", "b=2 c=6 n=4")
      .input("w", "c")
      .output("y", "b c n")
      .require("channels must be even", [](const Sizes& s) { return s['c'] % 2 == 0; })
      .forward(BODY {
        for (auto i : upto(c.numel() / (2 * c['n'])))
          layer_norm(2 * c['n'], c.x() + 2 * i * c['n'], c.y() + 2 * i * c['n'], 1e-5);
        for (auto k : upto(c.numel())) c.y()[k] *= c.x(1)[k / c['n'] % c['c']];
      })
      .backward(BODY {
        const int64_t size = 2 * c['n'];
        vec<T> v(c.numel()), z(c.numel());
        std::fill_n(c.g(1), c['c'], T(0));
        for (auto i : upto(c.numel() / size)) layer_norm(size, c.x() + i * size, &z[i * size], 1e-5);
        for (auto k : upto(c.numel())) {
          const int64_t ch = k / c['n'] % c['c'];
          v[k] = c.u()[k] * c.x(1)[ch];
          c.g(1)[k % c['c']] += c.u()[k] * z[k];
        }
        for (auto i : upto(c.numel() / size))
          layer_norm_backward(size, c.x() + i * size, &v[i * size], c.g() + i * size, 1e-5, size);
      });

  op("batch_norm", "(x - mean) / sqrt(variance + 1e-5) over the batch; also mean and variance")
      .input("x", "b=8 n=4")
      .output("y", "b n")
      .output("mean", "n")
      .output("variance", "n")
      .forward(BODY {
        for (auto j : upto(c['n'])) {
          moments(c['b'], [&](int64_t k) { return c.x()[k * c['n'] + j]; }, c.y(1)[j], c.y(2)[j]);
          for (auto i : upto(c['b'])) c.y()[i * c['n'] + j] = (c.x()[i * c['n'] + j] - c.y(1)[j]) / sqrt(c.y(2)[j] + 1e-5);
        }
      })
      .backward(BODY {
        for (auto j : upto(c['n'])) {
          const T s = sqrt(c.y(2)[j] + 1e-5);
          T total = 0, inner = 0;
          for (auto i : upto(c['b'])) total += c.u()[i * c['n'] + j], inner += c.u()[i * c['n'] + j] * c.y()[i * c['n'] + j];
          for (auto i : upto(c['b'])) {
            const int64_t k = i * c['n'] + j;
            c.g()[k] = (c.u()[k] - total / c['b'] - c.y()[k] * inner / c['b']) / s + c.u(1)[j] / c['b'] +
                       2 * c.u(2)[j] * (c.x()[k] - c.y(1)[j]) / c['b'];
          }
        }
      });

  op("batch_norm_channels", "(x - mean) / sqrt(variance + 1e-5) over the batch")
      .input("x", "b=8 n=4")
      .output("y", "b n")
      .require("needs two rows", [](const Sizes& s) { return s['b'] > 1; })
      .forward(BODY {
        for (auto j : upto(c['n'])) {
          T mean, variance;
          moments(c['b'], [&](int64_t k) { return c.x()[k * c['n'] + j]; }, mean, variance);
          for (auto i : upto(c['b'])) c.y()[i * c['n'] + j] = (c.x()[i * c['n'] + j] - mean) / sqrt(variance + 1e-5);
        }
      })
      .backward(BODY {
        for (auto j : upto(c['n'])) {
          T mean, variance, total = 0, inner = 0;
          moments(c['b'], [&](int64_t k) { return c.x()[k * c['n'] + j]; }, mean, variance);
          const T s = sqrt(variance * c['b'] / (c['b'] - 1) + 1e-5);
          for (auto i : upto(c['b'])) total += c.u()[i * c['n'] + j], inner += c.u()[i * c['n'] + j] * c.y()[i * c['n'] + j];
          for (auto i : upto(c['b']))
            c.g()[i * c['n'] + j] = (c.u()[i * c['n'] + j] - (total + c.y()[i * c['n'] + j] * inner) / c['b']) / s;
        }
      });

  op("rms_norm", "w x / sqrt(mean(x^2) + 1e-6)")
      .input("x", "*b=3 n=8")
      .input("w", "n")
      .output("y", "*b n")
      .forward(BODY {
        for (auto b : upto(c['b'])) {
          const T* x = c.x() + b * c['n'];
          const T s = sqrt(dot(c['n'], x, x) / c['n'] + 1e-6);
          for (auto i : upto(c['n'])) c.y()[b * c['n'] + i] = c.x(1)[i] * x[i] / s;
        }
      })
      .backward(BODY {
        std::fill_n(c.g(1), c['n'], T(0));
        for (auto b : upto(c['b'])) {
          const T *x = c.x() + b * c['n'], *u = c.u() + b * c['n'];
          const T s = sqrt(dot(c['n'], x, x) / c['n'] + 1e-6);
          T inner = 0;
          for (auto i : upto(c['n'])) inner += u[i] * c.x(1)[i] * x[i] / (c['n'] * s * s), c.g(1)[i] += u[i] * x[i] / s;
          for (auto i : upto(c['n'])) c.g()[b * c['n'] + i] = (u[i] * c.x(1)[i] - x[i] * inner) / s;
        }
      });

  op("rms_norm_eps", "x / sqrt(mean(x^2) + eps)")
      .input("x", "*b=3 n=8")
      .output("y", "*b n")
      .attribute("eps", 0.1, 1e-12, 10)
      .forward(BODY {
        for (auto b : upto(c['b'])) {
          const T* x = c.x() + b * c['n'];
          const T s = sqrt(dot(c['n'], x, x) / c['n'] + c.a("eps"));
          for (auto i : upto(c['n'])) c.y()[b * c['n'] + i] = x[i] / s;
        }
      })
      .backward(BODY {
        for (auto b : upto(c['b'])) {
          const T *x = c.x() + b * c['n'], *u = c.u() + b * c['n'], *y = c.y() + b * c['n'];
          const T s = sqrt(dot(c['n'], x, x) / c['n']), inner = dot(c['n'], u, y) / c['n'];
          for (auto i : upto(c['n'])) c.g()[b * c['n'] + i] = (u[i] - y[i] * inner) / s;
        }
      });

  op("weight_norm", "g v / |v| of each row")
      .input("v", "m=3 n=5")
      .input("g", "m")
      .output("w", "m n")
      .forward(BODY {
        for (auto i : upto(c['m'])) {
          const T* v = c.x() + i * c['n'];
          const T s = c.x(1)[i] / sqrt(dot(c['n'], v, v));
          for (auto j : upto(c['n'])) c.y()[i * c['n'] + j] = s * v[j];
        }
      })
      .backward(BODY {
        for (auto i : upto(c['m'])) {
          const T *v = c.x() + i * c['n'], *u = c.u() + i * c['n'];
          const T norm = sqrt(dot(c['n'], v, v)), inner = dot(c['n'], u, v) / norm;
          c.g(1)[i] = inner;
          for (auto j : upto(c['n'])) c.g(0)[i * c['n'] + j] = c.x(1)[i] / norm * (u[j] - inner * v[j] / norm);
        }
      });

  op("weight_scale", "g v / |v| of each row")
      .input("v", "m=3 n=5")
      .input("g", "m")
      .output("w", "m n")
      .forward(BODY {
        for (auto i : upto(c['m'])) {
          const T* v = c.x() + i * c['n'];
          const T s = c.x(1)[i] / sqrt(dot(c['n'], v, v));
          for (auto j : upto(c['n'])) c.y()[i * c['n'] + j] = s * v[j];
        }
      })
      .backward(BODY {
        for (auto i : upto(c['m'])) {
          const T *v = c.x() + i * c['n'], *u = c.u() + i * c['n'];
          const T norm = sqrt(dot(c['n'], v, v)), inner = dot(c['n'], u, v) / norm;
          c.g(1)[i] = inner;
          for (auto j : upto(c['n'])) c.g(0)[i * c['n'] + j] = c.x(1)[i] / norm * (u[j] - inner * v[j]);
        }
      });

  op("cosine_similarity", "a . b / (|a| |b|) of rows")
      .input("a", "m=4 n=6")
      .input("b", "m n")
      .output("y", "m")
      .forward(BODY {
        for (auto i : upto(c['m'])) {
          const T *a = c.x(0) + i * c['n'], *b = c.x(1) + i * c['n'];
          c.y()[i] = dot(c['n'], a, b) / sqrt(dot(c['n'], a, a) * dot(c['n'], b, b));
        }
      })
      .backward(BODY {
        for (auto i : upto(c['m'])) {
          const T *a = c.x(0) + i * c['n'], *b = c.x(1) + i * c['n'];
          const T aa = dot(c['n'], a, a), bb = dot(c['n'], b, b), s = sqrt(aa * bb);
          for (auto j : upto(c['n'])) {
            c.g(0)[i * c['n'] + j] = c.u()[i] * (b[j] / s - c.y()[i] * a[j] / aa);
            c.g(1)[i * c['n'] + j] = c.u()[i] * (a[j] / s - c.y()[i] * b[j] / bb);
          }
        }
      });

  op("cosine_distance", "1 - a . b / (|a| |b|) of rows")
      .input("a", "m=4 n=6")
      .input("b", "m n")
      .output("y", "m")
      .forward(BODY {
        for (auto i : upto(c['m'])) {
          const T *a = c.x(0) + i * c['n'], *b = c.x(1) + i * c['n'];
          c.y()[i] = 1 - dot(c['n'], a, b) / sqrt(dot(c['n'], a, a) * dot(c['n'], b, b));
        }
      })
      .backward(BODY {
        for (auto i : upto(c['m'])) {
          const T *a = c.x(0) + i * c['n'], *b = c.x(1) + i * c['n'];
          const T aa = dot(c['n'], a, a), bb = dot(c['n'], b, b), s = sqrt(aa * bb);
          for (auto j : upto(c['n'])) {
            c.g(0)[i * c['n'] + j] = -c.u()[i] * (b[j] / s - (1 - c.y()[i]) * a[j] / aa);
            c.g(1)[i * c['n'] + j] = -c.u()[i] * a[j] / s;
          }
        }
      });

  op("kl_normal", "divergence of normal distributions with means and log deviations")
      .input("m1", "n=5")
      .input("s1", "n")
      .input("m2", "n")
      .input("s2", "n")
      .output("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          const T d = c.x(0)[i] - c.x(2)[i], a = c.x(1)[i], b = c.x(3)[i];
          c.y()[i] = b - a + (exp(2 * a) + d * d) * exp(-2 * b) / 2 - 0.5;
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          const T d = c.x(0)[i] - c.x(2)[i], a = c.x(1)[i], b = c.x(3)[i], u = c.u()[i];
          c.g(0)[i] = u * d * exp(-2 * b);
          c.g(2)[i] = -c.g(0)[i];
          c.g(1)[i] = u * expm1(2 * a - 2 * b);
          c.g(3)[i] = u * (1 - (exp(2 * a) + d * d) * exp(-2 * b));
        }
      });

  op("kl_standard", "divergence of a normal distribution with mean m and log variance v from the standard one")
      .input("m", "n=5")
      .input("v", "n")
      .output("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          const T m = c.x(0)[i], v = c.x(1)[i];
          c.y()[i] = (exp(v) + m * m - 1 - v) / 2;
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          c.g(0)[i] = c.u()[i] * c.x(0)[i];
          c.g(1)[i] = c.u()[i] * expm1(c.x(1)[i]);
        }
      });

  row_sum(
      "standard_error", "sqrt(variance / n)", {}, "*b=3 n=7",
      ROW {
        T mean, v;
        moments(r.n, [&](int64_t k) { return r.x[k]; }, mean, v);
        *r.y = sqrt(v / r.n);
      },
      ROW {
        T mean, v;
        moments(r.n, [&](int64_t k) { return r.x[k]; }, mean, v);
        for (auto k : upto(r.n)) r.g[k] = *r.u * (r.x[k] - mean) / (r.n * sqrt(v));
      })
      .require("needs two values", [](const Sizes& s) { return s['n'] > 1; });
}

}  // namespace
}  // namespace trial
