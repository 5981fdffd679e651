// Linear algebra: products, solves, factorizations, eigenvalues; some are badly conditioned.
#include "op.h"
namespace trial {
namespace {

// Solves A z = b in place of b, with partial pivoting. A (n x n) is destroyed.
template <class T> void solve(int64_t n, vec<T> a, T* b, Form form = plain) {
  if (form == turned)
    for (auto i : upto(n))
      for (auto j : upto(i)) std::swap(a[i * n + j], a[j * n + i]);
  for (auto k : upto(n)) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < n; ++i)
      if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
    for (auto j : upto(n)) std::swap(a[k * n + j], a[pivot * n + j]);
    std::swap(b[k], b[pivot]);
    for (int64_t i = k + 1; i < n; ++i) {
      const T factor = a[i * n + k] / a[k * n + k];
      for (int64_t j = k; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
      b[i] -= factor * b[k];
    }
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    for (int64_t j = i + 1; j < n; ++j) b[i] -= a[i * n + j] * b[j];
    b[i] /= a[i * n + i];
  }
}
template <class T> vec<T> inverse(int64_t n, const T* a) {
  vec<T> result(n * n), column(n);
  for (auto j : upto(n)) {
    std::fill(column.begin(), column.end(), T(0));
    column[j] = 1;
    solve(n, vec<T>(a, a + n * n), column.data());
    for (auto i : upto(n)) result[i * n + j] = column[i];
  }
  return result;
}
template <class T> void cholesky(int64_t n, const T* a, T* l) {
  for (auto i : upto(n))
    for (auto j : upto(n)) {
      T rest = j <= i ? a[i * n + j] : T(0);
      for (auto k : upto(min(i, j)))
        if (j <= i) rest -= l[i * n + k] * l[j * n + k];
      l[i * n + j] = j > i ? T(0) : i == j ? sqrt(rest) : rest / l[j * n + j];
    }
}
// Gradient of a symmetric matrix from that of its Cholesky factor; `half` of the diagonal.
template <class T> vec<T> cholesky_backward(int64_t n, const T* l, const T* u, double half) {
  vec<T> p(n * n), inner(n * n), s(n * n), lower(n * n);
  for (auto i : upto(n))
    for (auto j : upto(n)) lower[i * n + j] = j <= i ? u[i * n + j] : T(0);
  gemm(n, n, n, l, turned, lower.data(), plain, p.data());
  for (auto i : upto(n))
    for (auto j : upto(n)) inner[i * n + j] = j < i ? p[i * n + j] : j == i ? p[i * n + j] * half : T(0);
  const vec<T> back = inverse(n, l);
  gemm(n, n, n, back.data(), turned, inner.data(), plain, p.data());
  gemm(n, n, n, p.data(), plain, back.data(), plain, s.data());
  for (auto i : upto(n))
    for (auto j : upto(n)) p[i * n + j] = (s[i * n + j] + s[j * n + i]) / 2;
  return p;
}
// Eigenvalues, ascending, and eigenvectors (columns of v) of a symmetric matrix, by Jacobi's rotations.
template <class T> void eigen(int64_t n, vec<T> a, vec<T>& values, vec<T>& v) {
  v.assign(n * n, T(0));
  for (auto i : upto(n)) v[i * n + i] = 1;
  for (int sweep = 0; sweep < 30; ++sweep)
    for (auto p : upto(n))
      for (int64_t q = p + 1; q < n; ++q) {
        if (a[p * n + q] == 0) continue;
        const T theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
        const T t = (theta >= 0 ? T(1) : T(-1)) / (fabs(theta) + sqrt(theta * theta + 1)), cs = 1 / sqrt(t * t + 1),
                sn = t * cs;
        for (auto k : upto(n)) {
          const T kp = a[k * n + p], kq = a[k * n + q];
          a[k * n + p] = cs * kp - sn * kq;
          a[k * n + q] = sn * kp + cs * kq;
        }
        for (auto k : upto(n)) {
          const T pk = a[p * n + k], qk = a[q * n + k], vp = v[k * n + p], vq = v[k * n + q];
          a[p * n + k] = cs * pk - sn * qk;
          a[q * n + k] = sn * pk + cs * qk;
          v[k * n + p] = cs * vp - sn * vq;
          v[k * n + q] = sn * vp + cs * vq;
        }
      }
  vec<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](auto i, auto j) { return a[i * n + i] < a[j * n + j]; });
  const vec<T> unsorted = v;
  values.resize(n);
  for (auto j : upto(n)) {
    values[j] = a[order[j] * n + order[j]];
    for (auto i : upto(n)) v[i * n + j] = unsorted[i * n + order[j]];
  }
}
template <class T> vec<T> symmetric(int64_t n, const T* x) {
  vec<T> s(n * n);
  for (auto i : upto(n))
    for (auto j : upto(n)) s[i * n + j] = (x[i * n + j] + x[j * n + i]) / 2;
  return s;
}
template <class T> vec<T> gram(int64_t n, int64_t k, const T* x, double shift) {  // x x^T + shift
  vec<T> a(n * n);
  gemm(n, k, n, x, plain, x, turned, a.data());
  for (auto i : upto(n)) a[i * n + i] += shift;
  return a;
}
template <class T> vec<T> exponential(int64_t n, const T* x) {  // series; for small norms
  vec<T> total(n * n), term(n * n), next(n * n);
  for (auto i : upto(n)) total[i * n + i] = term[i * n + i] = 1;
  for (int64_t k = 1; k <= 60; ++k) {
    gemm(n, n, n, term.data(), plain, x, plain, next.data());
    for (auto i : upto(n * n)) total[i] += term[i] = next[i] / k;
  }
  return total;
}

OPS {
  op("matmul", "a b")
      .input("a", "m=4 k=4")
      .input("b", "k n=4")
      .output("y", "m n")
      .forward(BODY { gemm(c['m'], c['k'], c['n'], c.x(0), plain, c.x(1), plain, c.y()); })
      .backward(BODY {
        const int64_t m = c['m'], k = c['k'], n = c['n'];
        gemm(m, n, k, c.u(), plain, c.x(1), turned, c.g(0));
        for (auto i : upto(k))
          for (auto j : upto(n)) {
            T sum = 0;
            for (auto p : upto(m)) sum += c.x(0)[p * m + i] * c.u()[p * n + j];
            c.g(1)[i * n + j] = sum;
          }
      })
      .require("needs m <= k", [](const Sizes& s) { return s['m'] <= s['k']; });

  op("matmul_left", "a b of square matrices")
      .input("a", "n=4 n")
      .input("b", "n n")
      .output("y", "n n")
      .forward(BODY { gemm(c['n'], c['n'], c['n'], c.x(0), plain, c.x(1), plain, c.y()); })
      .backward(BODY {
        gemm(c['n'], c['n'], c['n'], c.u(), plain, c.x(1), turned, c.g(0));
        gemm(c['n'], c['n'], c['n'], c.x(0), plain, c.u(), plain, c.g(1));
      });

  op("vandermonde_apply", "values at x of the polynomial with coefficients a")
      .input("x", "m=6", {-1.1, 1.1})
      .input("a", "n=12")
      .output("y", "m")
      .forward(BODY {
        for (auto i : upto(c['m'])) {
          T value = 0;
          for (int64_t k = c['n'] - 1; k >= 0; --k) value = value * c.x()[i] + c.x(1)[k];
          c.y()[i] = value;
        }
      })
      .backward(BODY {
        std::fill_n(c.g(1), c['n'], T(0));
        for (auto i : upto(c['m'])) {
          T slope = 0, power = 1;
          for (int64_t k = c['n'] - 1; k > 0; --k) slope = slope * c.x()[i] + k * c.x(1)[k];
          c.g(0)[i] = c.u()[i] * slope;
          for (auto k : upto(c['n'])) {
            c.g(1)[k] += c.u()[i] * power;
            power *= c.x()[i];
          }
        }
      });

  op("vandermonde_solve", "coefficients of the polynomial through the points (x, f)")
      .input("x", "n=6", {0, 1})
      .input("f", "n")
      .output("a", "n")
      .forward(BODY {
        const int64_t n = c['n'];
        vec<T> v(n * n, T(1));
        for (auto i : upto(n))
          for (int64_t k = 1; k < n; ++k) v[i * n + k] = v[i * n + k - 1] * c.x()[i];
        std::copy_n(c.x(1), n, c.y());
        solve(n, v, c.y());
      })
      .backward(BODY {
        const int64_t n = c['n'];
        vec<T> v(n * n, T(1));
        for (auto i : upto(n))
          for (int64_t k = 1; k < n; ++k) v[i * n + k] = v[i * n + k - 1] * c.x()[i];
        std::copy_n(c.u(), n, c.g(1));
        solve(n, v, c.g(1), turned);
        for (auto i : upto(n)) {
          T slope = 0;
          for (int64_t k = n - 1; k > 0; --k) slope = slope * c.x()[i] + k * c.y()[k];
          c.g(0)[i] = -c.g(1)[i] * slope;
        }
      });

  op("hilbert_solve", "solution of (H + diag(d)) z = b, H the Hilbert matrix")
      .input("d", "n=7", {0, 1e-6})
      .input("b", "n")
      .output("z", "n")
      .forward(BODY {
        const int64_t n = c['n'];
        vec<T> a(n * n);
        for (auto i : upto(n))
          for (auto j : upto(n)) a[i * n + j] = T(1) / (i + j + 1) + (i == j ? c.x()[i] : T(0));
        std::copy_n(c.x(1), n, c.y());
        solve(n, a, c.y());
      })
      .backward(BODY {
        const int64_t n = c['n'];
        vec<T> a(n * n);
        for (auto i : upto(n))
          for (auto j : upto(n)) a[i * n + j] = T(1) / (i + j + 1) + (i == j ? c.x()[i] : T(0));
        std::copy_n(c.u(), n, c.g(1));
        solve(n, a, c.g(1), turned);
        for (auto i : upto(n)) c.g(0)[i] = -c.g(1)[i] * c.y()[i];
      });

  op("solve_general", "solution of a z = b")
      .input("a", "n=4 n")
      .input("b", "n")
      .output("z", "n")
      .forward(BODY {
        std::copy_n(c.x(1), c['n'], c.y());
        solve(c['n'], vec<T>(c.x(), c.x() + c['n'] * c['n']), c.y());
      })
      .backward(BODY {
        const int64_t n = c['n'];
        std::copy_n(c.u(), n, c.g(1));
        solve(n, vec<T>(c.x(), c.x() + n * n), c.g(1), turned);
        for (auto i : upto(n))
          for (auto j : upto(n)) c.g(0)[i * n + j] = -c.y()[i] * c.g(1)[j];
      });

  op("cholesky_gram", "Cholesky factor of x x^T + 1e-6")
      .input("x", "n=4 k=3")
      .output("l", "n n")
      .forward(BODY { cholesky(c['n'], gram(c['n'], c['k'], c.x(), 1e-6).data(), c.y()); })
      .backward(BODY {
        const vec<T> s = cholesky_backward(c['n'], c.y(), c.u(), 0.5);
        gemm(c['n'], c['n'], c['k'], s.data(), plain, c.x(), plain, c.g());
        for (auto i : upto(c.numel())) c.g()[i] *= 2;
      });

  op("cholesky_factor", "Cholesky factor of x x^T + 1")
      .input("x", "n=4 k=4")
      .output("l", "n n")
      .forward(BODY { cholesky(c['n'], gram(c['n'], c['k'], c.x(), 1).data(), c.y()); })
      .backward(BODY {
        const vec<T> s = cholesky_backward(c['n'], c.y(), c.u(), 1);
        gemm(c['n'], c['n'], c['k'], s.data(), plain, c.x(), plain, c.g());
        for (auto i : upto(c.numel())) c.g()[i] *= 2;
      });

  op("inverse_general", "inverse of a matrix")
      .input("x", "n=5 n")
      .output("y", "n n")
      .forward(BODY {
        const vec<T> y = inverse(c['n'], c.x());
        std::copy(y.begin(), y.end(), c.y());
      })
      .backward(BODY {
        const int64_t n = c['n'];
        vec<T> left(n * n);
        gemm(n, n, n, c.y(), turned, c.u(), plain, left.data());
        gemm(n, n, n, left.data(), plain, c.y(), turned, c.g());
        for (auto i : upto(n * n)) c.g()[i] = -c.g()[i];
      });

  op("inverse_shifted", "inverse of x + 3")
      .input("x", "n=4 n", {-1, 1})
      .output("y", "n n")
      .forward(BODY {
        vec<T> a(c.x(), c.x() + c['n'] * c['n']);
        for (auto i : upto(c['n'])) a[i * c['n'] + i] += 3;
        const vec<T> y = inverse(c['n'], a.data());
        std::copy(y.begin(), y.end(), c.y());
      })
      .backward(BODY {
        const int64_t n = c['n'];
        vec<T> left(n * n);
        gemm(n, n, n, c.y(), plain, c.u(), plain, left.data());
        gemm(n, n, n, left.data(), plain, c.y(), plain, c.g());
        for (auto i : upto(n * n)) c.g()[i] = -c.g()[i];
      });

  op("determinant", "determinant of a 3 x 3 matrix")
      .input("x", "3 3")
      .output("y", "")
      .forward(BODY {
        const T* x = c.x();
        *c.y() = x[0] * (x[4] * x[8] - x[5] * x[7]) - x[1] * (x[3] * x[8] - x[5] * x[6]) + x[2] * (x[3] * x[7] - x[4] * x[6]);
      })
      .backward(BODY {
        const T* x = c.x();
        for (auto i : upto(3))
          for (auto j : upto(3)) {
            const int64_t r = (i == 0) * 3, s = i == 2 ? 3 : 6, p = j == 0, q = j == 2 ? 1 : 2;
            c.g()[i * 3 + j] = *c.u() * (x[r + p] * x[s + q] - x[r + q] * x[s + p]);
          }
      });

  op("log_abs_det", "log |det x|")
      .input("x", "n=4 n")
      .output("y", "")
      .forward(BODY {
        const int64_t n = c['n'];
        vec<T> a(c.x(), c.x() + n * n);
        *c.y() = 0;
        for (auto k : upto(n)) {
          int64_t pivot = k;
          for (int64_t i = k + 1; i < n; ++i)
            if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
          for (auto j : upto(n)) std::swap(a[k * n + j], a[pivot * n + j]);
          *c.y() += log(fabs(a[k * n + k]));
          for (int64_t i = k + 1; i < n; ++i) {
            const T factor = a[i * n + k] / a[k * n + k];
            for (int64_t j = k; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
          }
        }
      })
      .backward(BODY {
        const vec<T> back = inverse(c['n'], c.x());
        for (auto i : upto(c.numel())) c.g()[i] = *c.u() * back[i];
      });

  op("log_det_flat", "log det(x x^T + 1e-6) of a matrix of lower rank")
      .input("x", "n=5 k=3")
      .output("y", "")
      .forward(BODY {
        vec<T> l(c['n'] * c['n']);
        cholesky(c['n'], gram(c['n'], c['k'], c.x(), 1e-6).data(), l.data());
        *c.y() = 0;
        for (auto i : upto(c['n'])) *c.y() += 2 * log(l[i * c['n'] + i]);
      })
      .backward(BODY {  // x (x^T x + 1e-6)^-1, which is the small one of the two
        const int64_t n = c['n'], k = c['k'];
        vec<T> a(k * k);
        gemm(k, n, k, c.x(), turned, c.x(), plain, a.data());
        for (auto i : upto(k)) a[i * k + i] += 1e-6;
        gemm(n, k, k, c.x(), plain, inverse(k, a.data()).data(), plain, c.g());
        for (auto i : upto(n * k)) c.g()[i] *= 2 * *c.u();
      });

  op("eigenvalues_close", "eigenvalues of 1 + (x + x^T) / 2")
      .input("x", "n=4 n", {-1e-6, 1e-6})
      .output("y", "n")
      .forward(BODY {
        vec<T> values, v;
        eigen(c['n'], symmetric(c['n'], c.x()), values, v);
        for (auto i : upto(c['n'])) c.y()[i] = 1 + values[i];
      })
      .backward(BODY {
        const int64_t n = c['n'];
        vec<T> values, v;
        eigen(n, symmetric(n, c.x()), values, v);
        std::fill_n(c.g(), n * n, T(0));
        for (auto k : upto(n))
          for (auto i : upto(n))
            for (auto j : upto(n)) c.g()[i * n + j] += c.u()[k] * v[i * n + k] * v[j * n + k];
      });

  op("leading_eigenvalue", "the largest eigenvalue of (x + x^T) / 2")
      .input("x", "n=4 n")
      .output("y", "")
      .forward(BODY {
        vec<T> values, v;
        eigen(c['n'], symmetric(c['n'], c.x()), values, v);
        *c.y() = values.back();
      })
      .backward(BODY {
        const int64_t n = c['n'];
        vec<T> values, v;
        eigen(n, symmetric(n, c.x()), values, v);
        for (auto i : upto(n))
          for (auto j : upto(n)) c.g()[i * n + j] = *c.u() * v[(n - 1) * n + i] * v[(n - 1) * n + j];
      });

  op("matrix_exponential", "exp(x) of a matrix")
      .input("x", "n=4 n")
      .output("y", "n n")
      .forward(BODY {
        const vec<T> y = exponential(c['n'], c.x());
        std::copy(y.begin(), y.end(), c.y());
      })
      .backward(BODY {  // a block of exp((x^T, u; 0, x^T))
        const int64_t n = c['n'], w = 2 * n;
        vec<T> block(w * w);
        for (auto i : upto(n))
          for (auto j : upto(n)) {
            block[i * w + j] = block[(n + i) * w + n + j] = c.x()[j * n + i];
            block[i * w + n + j] = c.u()[i * n + j];
          }
        block = exponential(w, block.data());
        for (auto i : upto(n))
          for (auto j : upto(n)) c.g()[i * n + j] = block[i * w + n + j];
      });

  op("matrix_power", "x^30")
      .input("x", "n=3 n", {-0.7, 0.9})
      .output("y", "n n")
      .forward(BODY {
        const int64_t n = c['n'];
        vec<T> power(c.x(), c.x() + n * n), next(n * n);
        for (int k = 1; k < 30; ++k) {
          gemm(n, n, n, power.data(), plain, c.x(), plain, next.data());
          power.swap(next);
        }
        std::copy(power.begin(), power.end(), c.y());
      })
      .backward(BODY {  // sum over k of (x^T)^k u (x^T)^(29 - k)
        const int64_t n = c['n'];
        vec<vec<T>> power(30, vec<T>(n * n));
        for (auto i : upto(n)) power[0][i * n + i] = 1;
        for (int k = 1; k < 30; ++k) gemm(n, n, n, power[k - 1].data(), plain, c.x(), plain, power[k].data());
        vec<T> left(n * n);
        std::fill_n(c.g(), n * n, T(0));
        for (int k = 0; k < 30; ++k) {
          gemm(n, n, n, power[k].data(), turned, c.u(), plain, left.data());
          gemm(n, n, n, left.data(), plain, power[29 - k].data(), turned, c.g(), true);
        }
      });

  op("tridiagonal_solve", "solution of a tridiagonal system")
      .input("below", "n=8", {-1, 1})
      .input("diagonal", "n", {2.1, 3})
      .input("above", "n", {-1, 1})
      .input("b", "n")
      .output("z", "n")
      .forward(BODY {
        const int64_t n = c['n'];
        vec<T> p(n), q(n);
        for (auto i : upto(n)) {
          const T pivot = c.x(1)[i] - (i ? c.x(0)[i] * p[i - 1] : T(0));
          p[i] = c.x(2)[i] / pivot;
          q[i] = (c.x(3)[i] - (i ? c.x(0)[i] * q[i - 1] : T(0))) / pivot;
        }
        for (int64_t i = n - 1; i >= 0; --i) c.y()[i] = q[i] - (i + 1 < n ? p[i] * c.y()[i + 1] : T(0));
      })
      .backward(BODY {  // the transposed system: above and below swap
        const int64_t n = c['n'];
        vec<T> p(n), q(n), w(n + 1);
        for (auto i : upto(n)) {
          const T under = i ? c.x(2)[i - 1] : T(0), pivot = c.x(1)[i] - (i ? under * p[i - 1] : T(0));
          p[i] = (i + 1 < n ? c.x(0)[i + 1] : T(0)) / pivot;
          q[i] = (c.u()[i] - (i ? under * q[i - 1] : T(0))) / pivot;
        }
        for (int64_t i = n - 1; i >= 0; --i) {
          w[i] = q[i] - p[i] * w[i + 1];
          c.g(3)[i] = w[i];
          c.g(1)[i] = -w[i] * c.y()[i];
          c.g(0)[i] = i ? -w[i] * c.y()[i - 1] : T(0);
          c.g(2)[i] = i + 1 < n ? -w[i] * c.y()[i + 1] : T(0);
        }
      });

  op("forward_substitution", "solution of l z = b with the lower triangle of l")
      .input("l", "n=5 n", {1, 2})
      .input("b", "n")
      .output("z", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) c.y()[i] = (c.x(1)[i] - dot(i, c.x() + i * c['n'], c.y())) / c.x()[i * c['n'] + i];
      })
      .backward(BODY {
        const int64_t n = c['n'];
        T* w = c.g(1);
        for (int64_t i = n - 1; i >= 0; --i) {
          T rest = c.u()[i];
          for (int64_t j = i + 1; j < n; ++j) rest -= c.x()[j * n + i] * w[j];
          w[i] = rest / c.x()[i * n + i];
        }
        for (auto i : upto(n))
          for (auto j : upto(n)) c.g(0)[i * n + j] = -w[i] * c.y()[j];
      });

  op("trace_product", "trace(a b)")
      .input("a", "n=4 n")
      .input("b", "n n")
      .output("y", "")
      .forward(BODY {
        *c.y() = 0;
        for (auto i : upto(c['n']))
          for (auto j : upto(c['n'])) *c.y() += c.x(0)[i * c['n'] + j] * c.x(1)[j * c['n'] + i];
      })
      .backward(BODY {
        for (int side : {0, 1})
          for (auto i : upto(c.numel())) c.g(side)[i] = *c.u() * c.x(1 - side)[i];
      });

  op("quadratic_form", "x^T a x")
      .input("a", "n=4 n")
      .input("x", "n")
      .output("y", "")
      .forward(BODY {
        *c.y() = 0;
        for (auto i : upto(c['n'])) *c.y() += c.x(1)[i] * dot(c['n'], c.x() + i * c['n'], c.x(1));
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          c.g(1)[i] = 2 * *c.u() * dot(c['n'], c.x() + i * c['n'], c.x(1));
          for (auto j : upto(c['n'])) c.g(0)[i * c['n'] + j] = *c.u() * c.x(1)[i] * c.x(1)[j];
        }
      });

  op("frobenius_distance", "norm of a - b")
      .input("a", "*s=3,4")
      .input("b", "*s")
      .output("y", "")
      .forward(BODY {
        *c.y() = 0;
        for (auto i : upto(c['s'])) *c.y() += (c.x(0)[i] - c.x(1)[i]) * (c.x(0)[i] - c.x(1)[i]);
        *c.y() = sqrt(*c.y());
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g(0)[i] = c.g(1)[i] = *c.u() * (c.x(0)[i] - c.x(1)[i]) / *c.y();
      });

  op("outer_product", "a b^T")
      .input("a", "m=4")
      .input("b", "n=4")
      .output("y", "m n")
      .forward(BODY {
        for (auto i : upto(c['m']))
          for (auto j : upto(c['n'])) c.y()[i * c['n'] + j] = c.x(0)[i] * c.x(1)[j];
      })
      .backward(BODY {
        const int64_t m = c['m'], n = c['n'];
        gemm(m, n, 1, c.u(), plain, c.x(1), plain, c.g(0));
        for (auto j : upto(n)) {
          c.g(1)[j] = 0;
          for (auto i : upto(m)) c.g(1)[j] += c.u()[(j * m + i) % (m * n)] * c.x(0)[i];
        }
      });

  op("matmul_batched", "a[b] w for every b")
      .input("a", "b=1 m=3 k=4")
      .input("w", "k n=2")
      .output("y", "b m n")
      .forward(BODY { gemm(c['b'] * c['m'], c['k'], c['n'], c.x(0), plain, c.x(1), plain, c.y()); })
      .backward(BODY {
        const int64_t m = c['m'], k = c['k'], n = c['n'];
        for (auto b : upto(c['b'])) {
          gemm(m, n, k, c.u() + b * m * n, plain, c.x(1), turned, c.g(0) + b * m * k);
          gemm(k, m, n, c.x(0) + b * m * k, turned, c.u() + b * m * n, plain, c.g(1));
        }
      });

  op("cross_product", "a x b")
      .input("a", "n=4 3")
      .input("b", "n 3")
      .output("y", "n 3")
      .forward(BODY {
        for (auto i : upto(c['n']))
          for (auto j : upto(3)) {
            const int64_t p = 3 * i + (j + 1) % 3, q = 3 * i + (j + 2) % 3;
            c.y()[3 * i + j] = c.x(0)[p] * c.x(1)[q] - c.x(0)[q] * c.x(1)[p];
          }
      })
      .backward(BODY {
        for (auto i : upto(c['n']))
          for (auto j : upto(3)) {
            const int64_t p = 3 * i + (j + 1) % 3, q = 3 * i + (j + 2) % 3;
            c.g(0)[3 * i + j] = c.x(1)[p] * c.u()[q] - c.x(1)[q] * c.u()[p];
            c.g(1)[3 * i + j] = c.x(0)[p] * c.u()[q] - c.x(0)[q] * c.u()[p];
          }
      });

  op("householder", "x - 2 v (v . x) / (v . v)")
      .input("x", "n=5")
      .input("v", "n")
      .output("y", "n")
      .forward(BODY {
        const T s = 2 * dot(c['n'], c.x(0), c.x(1)) / dot(c['n'], c.x(1), c.x(1));
        for (auto i : upto(c['n'])) c.y()[i] = c.x(0)[i] - s * c.x(1)[i];
      })
      .backward(BODY {
        const int64_t n = c['n'];
        const T vv = dot(n, c.x(1), c.x(1)), vx = dot(n, c.x(0), c.x(1)), vu = dot(n, c.u(), c.x(1));
        for (auto i : upto(n)) {
          c.g(0)[i] = c.u()[i] - 2 * vu / vv * c.x(1)[i];
          c.g(1)[i] = -2 * (vu * c.x(0)[i] + vx * c.u()[i]) / vv;
        }
      });

  op("mahalanobis", "d^T (a a^T + 1)^-1 d")
      .input("a", "n=4 k=4")
      .input("d", "n")
      .output("y", "")
      .forward(BODY {
        vec<T> z(c.x(1), c.x(1) + c['n']);
        solve(c['n'], gram(c['n'], c['k'], c.x(), 1), z.data());
        *c.y() = dot(c['n'], z.data(), c.x(1));
      })
      .backward(BODY {
        const int64_t n = c['n'], k = c['k'];
        vec<T> z(c.x(1), c.x(1) + n), az(k);
        solve(n, gram(n, k, c.x(), 1), z.data());
        gemm(1, n, k, z.data(), plain, c.x(), plain, az.data());
        for (auto i : upto(n)) {
          c.g(1)[i] = 2 * *c.u() * z[i];
          for (auto j : upto(k)) c.g(0)[i * k + j] = -2 * *c.u() * z[i] * az[j];
        }
      });
}

}  // namespace
}  // namespace trial
