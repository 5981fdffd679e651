// Sorting, extremes, pooling and networks of relus: piecewise linear, with many pieces.
#include "op.h"
namespace trial {
namespace {

template <class T> vec<int64_t> order(int64_t n, const T* x) {
  vec<int64_t> at(n);
  std::iota(at.begin(), at.end(), 0);
  std::stable_sort(at.begin(), at.end(), [&](auto i, auto j) { return x[i] < x[j]; });
  return at;
}
template <class T> int64_t argmax(int64_t n, const T* x) { return std::max_element(x, x + n) - x; }
template <class T> int64_t argmin(int64_t n, const T* x) { return std::min_element(x, x + n) - x; }

// Three layers without biases: h1 = relu(a x), h2 = relu(b h1), y = w h2; m[k]: what is before the k-th relu.
template <class T> void layers(const Call<T>& c, vec<T> (&m)[2], vec<T> (&h)[2]) {
  const int64_t n = c['n'];
  for (int k : {0, 1}) {
    m[k].resize(n), h[k].resize(n);
    gemm(n, n, 1, c.x(k + 1), plain, k ? h[0].data() : c.x(0), plain, m[k].data());
    for (auto i : upto(n)) h[k][i] = max(m[k][i], T(0));
  }
}
template <class T> void layers_backward(const Call<T>& c, const vec<T>* first_mask = nullptr) {
  const int64_t n = c['n'];
  vec<T> m[2], h[2], d(n), next(n);
  layers(c, m, h);
  for (auto i : upto(n)) {
    c.g(3)[i] = *c.u() * h[1][i];
    d[i] = *c.u() * c.x(3)[i];
  }
  for (int k : {1, 0}) {
    const vec<T>& mask = k == 0 && first_mask ? *first_mask : m[k];
    for (auto i : upto(n))
      if (!(mask[i] > 0)) d[i] = 0;
    gemm(n, 1, n, d.data(), plain, k ? h[0].data() : c.x(0), plain, c.g(k + 1));
    gemm(1, n, n, d.data(), plain, c.x(k + 1), plain, k ? next.data() : c.g(0));
    d = next;
  }
}
// Sorted descending, the largest k with 1 + k z[k] > sum of the k largest; the shift that makes the rest sum to 1.
template <class T> T simplex_shift(int64_t n, const T* x) {
  vec<T> z(x, x + n);
  std::sort(z.rbegin(), z.rend());
  T total = 0, shift = 0;
  for (auto k : upto(n)) {
    total += z[k];
    if (1 + (k + 1) * z[k] > total) shift = (total - 1) / (k + 1);
  }
  return shift;
}
// Isotonic regression: the blocks that pool adjacent violators, as ends of ranges.
template <class T> vec<int64_t> isotonic_blocks(int64_t n, const T* x) {
  vec<T> total;
  vec<int64_t> count, ends;
  for (auto i : upto(n)) {
    total.push_back(x[i]);
    count.push_back(1);
    while (total.size() > 1 && total.end()[-2] * count.back() > total.back() * count.end()[-2]) {
      total.end()[-2] += total.back(), count.end()[-2] += count.back();
      total.pop_back(), count.pop_back();
    }
  }
  int64_t end = 0;
  for (const int64_t k : count) ends.push_back(end += k);
  return ends;
}

OPS {
  row_op(
      "sort", "ascending", {}, "*b= n=500",
      ROW {
        std::copy_n(r.x, r.n, r.y);
        std::sort(r.y, r.y + r.n);
      },
      ROW {
        const auto at = order(r.n, r.x);
        for (auto i : upto(r.n)) r.g[at[i]] = r.u[i];
      });

  row_op(
      "sort_rows", "each row ascending", {}, "*b=3 n=9",
      ROW {
        std::copy_n(r.x, r.n, r.y);
        std::sort(r.y, r.y + r.n);
      },
      ROW {
        const auto at = order(r.n, r.x);
        for (auto i : upto(r.n)) r.g[i] = r.u[at[i]];
      });

  row_op(
      "sort_descending", "of 3000 values", {}, "*b=1 n=3000",
      ROW {
        std::copy_n(r.x, r.n, r.y);
        std::sort(r.y, r.y + r.n, std::greater<T>());
      },
      ROW {
        const auto at = order(r.n, r.x);
        for (auto i : upto(r.n)) r.g[at[r.n - 1 - i]] = r.u[i];
      });

  row_sum(
      "median", "of 501 values; between the middle two if their number is even", {}, "*b=1 n=501",
      ROW {
        const auto at = order(r.n, r.x);
        *r.y = (r.x[at[(r.n - 1) / 2]] + r.x[at[r.n / 2]]) / 2;
      },
      ROW {
        const auto at = order(r.n, r.x);
        std::fill_n(r.g, r.n, T(0));
        r.g[at[(r.n - 1) / 2]] += *r.u / 2;
        r.g[at[r.n / 2]] += *r.u / 2;
      });

  row_sum(
      "median_of_rows", "between the middle two if their number is even", {}, "*b=3 n=9",
      ROW {
        const auto at = order(r.n, r.x);
        *r.y = (r.x[at[(r.n - 1) / 2]] + r.x[at[r.n / 2]]) / 2;
      },
      ROW {
        std::fill_n(r.g, r.n, T(0));
        r.g[order(r.n, r.x)[r.n / 2]] = *r.u;
      });

  row_sum(
      "quantile", "the 0.37 quantile, between two values", {}, "*b=2 n=200",
      ROW {
        const auto at = order(r.n, r.x);
        const T p = 0.37 * (r.n - 1);
        const int64_t i = static_cast<int64_t>(p);
        *r.y = r.x[at[i]] + (p - i) * (r.x[at[min(i + 1, r.n - 1)]] - r.x[at[i]]);
      },
      ROW {
        const auto at = order(r.n, r.x);
        const T p = 0.37 * (r.n - 1);
        const int64_t i = static_cast<int64_t>(p);
        std::fill_n(r.g, r.n, T(0));
        r.g[at[i]] += *r.u * (1 - (p - i));
        r.g[at[min(i + 1, r.n - 1)]] += *r.u * (p - i);
      });

  row_sum(
      "quartile", "the 0.25 quantile, between two values", {}, "*b=3 n=8",
      ROW {
        const auto at = order(r.n, r.x);
        const T p = 0.25 * (r.n - 1);
        const int64_t i = static_cast<int64_t>(p);
        *r.y = r.x[at[i]] + (p - i) * (r.x[at[min(i + 1, r.n - 1)]] - r.x[at[i]]);
      },
      ROW {
        const auto at = order(r.n, r.x);
        const T p = 0.25 * (r.n - 1);
        const int64_t i = static_cast<int64_t>(p);
        std::fill_n(r.g, r.n, T(0));
        r.g[at[i]] += *r.u * (p - i);
        r.g[at[min(i + 1, r.n - 1)]] += *r.u * (1 - (p - i));
      });

  row_sum(
      "trimmed_mean", "mean without the lowest and highest tenth", {}, "*b=1 n=300",
      ROW {
        const auto at = order(r.n, r.x);
        const int64_t cut = r.n / 10;
        *r.y = 0;
        for (int64_t i = cut; i < r.n - cut; ++i) *r.y += r.x[at[i]] / (r.n - 2 * cut);
      },
      ROW {
        const auto at = order(r.n, r.x);
        const int64_t cut = r.n / 10;
        for (auto i : upto(r.n)) r.g[at[i]] = i >= cut && i < r.n - cut ? *r.u / (r.n - 2 * cut) : T(0);
      });

  row_sum(
      "interquartile_mean", "mean of the middle half", {}, "*b=2 n=12",
      ROW {
        const auto at = order(r.n, r.x);
        const int64_t cut = r.n / 4;
        *r.y = 0;
        for (int64_t i = cut; i < r.n - cut; ++i) *r.y += r.x[at[i]] / (r.n - 2 * cut);
      },
      ROW {
        const auto at = order(r.n, r.x);
        const int64_t cut = r.n / 4;
        for (auto i : upto(r.n)) r.g[at[i]] = i >= cut && i < r.n - cut ? *r.u / r.n : T(0);
      });

  op("top_k_sum", "sum of the k largest")
      .input("x", "*b=1 n=300")
      .output("y", "*b")
      .attribute("k", 10, 1, 1000)
      .forward(BODY {
        for (auto b : upto(c['b'])) {
          vec<T> z(c.x() + b * c['n'], c.x() + (b + 1) * c['n']);
          std::sort(z.rbegin(), z.rend());
          c.y()[b] = sum(min(c.n("k"), c['n']), z.data());
        }
      })
      .backward(BODY {
        for (auto b : upto(c['b'])) {
          const auto at = order(c['n'], c.x() + b * c['n']);
          for (auto i : upto(c['n'])) c.g()[b * c['n'] + at[i]] = c['n'] - 1 - i < c.n("k") ? c.u()[b] : T(0);
        }
      });

  op("top_k_mean", "mean of the k largest")
      .input("x", "*b=3 n=9")
      .output("y", "*b")
      .attribute("k", 3, 1, 1000)
      .forward(BODY {
        for (auto b : upto(c['b'])) {
          vec<T> z(c.x() + b * c['n'], c.x() + (b + 1) * c['n']);
          std::sort(z.rbegin(), z.rend());
          const int64_t k = min(c.n("k"), c['n']);
          c.y()[b] = sum(k, z.data()) / k;
        }
      })
      .backward(BODY {
        for (auto b : upto(c['b'])) {
          const auto at = order(c['n'], c.x() + b * c['n']);
          for (auto i : upto(c['n']))
            c.g()[b * c['n'] + at[i]] = c['n'] - 1 - i < 3 ? c.u()[b] / min<int64_t>(3, c['n']) : T(0);
        }
      });

  op("max_pool", "maxima of windows of 4, 2 apart")
      .input("x", "*b=1 n=200")
      .output("y", "*b m")
      .let('m', [](const Sizes& s) { return s['n'] < 4 ? 0 : (s['n'] - 4) / 2 + 1; })
      .forward(BODY {
        for (auto b : upto(c['b']))
          for (auto i : upto(c['m'])) c.y()[b * c['m'] + i] = largest(4, c.x() + b * c['n'] + 2 * i);
      })
      .backward(BODY {
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto b : upto(c['b']))
          for (auto i : upto(c['m'])) {
            const int64_t at = b * c['n'] + 2 * i;
            c.g()[at + argmax(4, c.x() + at)] += c.u()[b * c['m'] + i];
          }
      });

  op("max_pool_overlapping", "maxima of windows of 3, 1 apart")
      .input("x", "*b=2 n=24")
      .output("y", "*b m")
      .let('m', [](const Sizes& s) { return s['n'] - 2; })
      .forward(BODY {
        for (auto b : upto(c['b']))
          for (auto i : upto(c['m'])) c.y()[b * c['m'] + i] = largest(3, c.x() + b * c['n'] + i);
      })
      .backward(BODY {
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto b : upto(c['b']))
          for (auto i : upto(c['m'])) {
            const int64_t at = b * c['n'] + i;
            c.g()[at + argmax(3, c.x() + at)] = c.u()[b * c['m'] + i];
          }
      });

  op("max_pool_plane", "maxima of windows of 2 x 2")
      .input("x", "h=6 w=6")
      .output("y", "p q")
      .let('p', [](const Sizes& s) { return s['h'] / 2; })
      .let('q', [](const Sizes& s) { return s['w'] / 2; })
      .forward(BODY {
        for (auto i : upto(c['p']))
          for (auto j : upto(c['q'])) {
            const T* x = c.x() + 2 * i * c['w'] + 2 * j;
            c.y()[i * c['q'] + j] = max(max(x[0], x[1]), max(x[c['w']], x[c['w'] + 1]));
          }
      })
      .backward(BODY {
        const int64_t h = c['h'], w = c['w'];
        std::fill_n(c.g(), h * w, T(0));
        for (auto i : upto(c['p']))
          for (auto j : upto(c['q'])) {
            int64_t best = 0;
            const T* x = c.x() + 2 * i * w + 2 * j;
            for (auto k : upto(4))
              if (x[k / 2 * w + k % 2] > x[best / 2 * w + best % 2]) best = k;
            c.g()[(2 * i + best / 2) * h + 2 * j + best % 2] = c.u()[i * c['q'] + j];
          }
      })
      .require("no more rows than columns", [](const Sizes& s) { return s['h'] <= s['w']; });

  row_op(
      "cumulative_max", "running maximum", {}, "*b=1 n=200",
      ROW {
        T top = r.x[0];
        for (auto i : upto(r.n)) r.y[i] = top = max(top, r.x[i]);
      },
      ROW {
        std::fill_n(r.g, r.n, T(0));
        int64_t best = 0;
        for (auto i : upto(r.n)) {
          if (r.x[i] > r.x[best]) best = i;
          r.g[best] += r.u[i];
        }
      });

  row_op(
      "running_max", "running maximum", {}, "*b=3 n=10",
      ROW {
        T top = r.x[0];
        for (auto i : upto(r.n)) r.y[i] = top = max(top, r.x[i]);
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = r.x[i] == r.y[i] ? r.u[i] : T(0);
      });

  op("total_variation", "sum of |differences| of neighbours in a plane")
      .input("x", "h=12 w=12")
      .output("y", "")
      .forward(BODY {
        const int64_t w = c['w'];
        *c.y() = 0;
        for (auto i : upto(c['h']))
          for (auto j : upto(w)) {
            if (i) *c.y() += fabs(c.x()[i * w + j] - c.x()[(i - 1) * w + j]);
            if (j) *c.y() += fabs(c.x()[i * w + j] - c.x()[i * w + j - 1]);
          }
      })
      .backward(BODY {
        const int64_t w = c['w'];
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto i : upto(c['h']))
          for (auto j : upto(w))
            for (int64_t back : {i ? w : 0, j ? int64_t{1} : 0}) {
              if (!back) continue;
              const T s = *c.u() * sign(c.x()[i * w + j] - c.x()[i * w + j - back]);
              c.g()[i * w + j] += s, c.g()[i * w + j - back] -= s;
            }
      });

  op("roughness", "sum of |differences| of vertical neighbours in a plane")
      .input("x", "h=5 w=4")
      .output("y", "")
      .forward(BODY {
        *c.y() = 0;
        for (int64_t i = c['w']; i < c.numel(); ++i) *c.y() += fabs(c.x()[i] - c.x()[i - c['w']]);
      })
      .backward(BODY {
        std::fill_n(c.g(), c.numel(), T(0));
        for (int64_t i = c['w']; i < c.numel() - c['w']; ++i) {
          const T s = *c.u() * sign(c.x()[i] - c.x()[i - c['w']]);
          c.g()[i] += s, c.g()[i - c['w']] -= s;
        }
      });

  op("relu_network", "w relu(b relu(a x))")
      .input("x", "n=12")
      .input("a", "n n")
      .input("b", "n n")
      .input("w", "n")
      .output("y", "")
      .forward(BODY {
        vec<T> m[2], h[2];
        layers(c, m, h);
        *c.y() = dot(c['n'], c.x(3), h[1].data());
      })
      .backward(BODY { layers_backward(c); });

  op("relu_layers", "w relu(b relu(a x))")
      .input("x", "n=8")
      .input("a", "n n")
      .input("b", "n n")
      .input("w", "n")
      .output("y", "")
      .forward(BODY {
        vec<T> m[2], h[2];
        layers(c, m, h);
        *c.y() = dot(c['n'], c.x(3), h[1].data());
      })
      .backward(BODY {
        vec<T> m[2], h[2];
        layers(c, m, h);
        layers_backward(c, &m[1]);
      });

  op("pairwise_l1", "sums of |a[i] - b[j]|")
      .input("a", "m=8 k=5")
      .input("b", "n=8 k")
      .output("y", "m n")
      .forward(BODY {
        for (auto i : upto(c['m']))
          for (auto j : upto(c['n'])) {
            T s = 0;
            for (auto k : upto(c['k'])) s += fabs(c.x(0)[i * c['k'] + k] - c.x(1)[j * c['k'] + k]);
            c.y()[i * c['n'] + j] = s;
          }
      })
      .backward(BODY {
        std::fill_n(c.g(0), c.numel(0), T(0));
        std::fill_n(c.g(1), c.numel(1), T(0));
        for (auto i : upto(c['m']))
          for (auto j : upto(c['n']))
            for (auto k : upto(c['k'])) {
              const T s = c.u()[i * c['n'] + j] * sign(c.x(0)[i * c['k'] + k] - c.x(1)[j * c['k'] + k]);
              c.g(0)[i * c['k'] + k] += s, c.g(1)[j * c['k'] + k] -= s;
            }
      });

  op("wasserstein", "mean |sorted a - sorted b|")
      .input("a", "n=150")
      .input("b", "n")
      .output("y", "")
      .forward(BODY {
        const auto p = order(c['n'], c.x(0)), q = order(c['n'], c.x(1));
        *c.y() = 0;
        for (auto i : upto(c['n'])) *c.y() += fabs(c.x(0)[p[i]] - c.x(1)[q[i]]) / c['n'];
      })
      .backward(BODY {
        const auto p = order(c['n'], c.x(0)), q = order(c['n'], c.x(1));
        for (auto i : upto(c['n'])) {
          const T s = *c.u() / c['n'] * sign(c.x(0)[p[i]] - c.x(1)[q[i]]);
          c.g(0)[p[i]] = s, c.g(1)[q[i]] = -s;
        }
      });

  op("ordered_average", "sum of w sorted(x)")
      .input("x", "n=7")
      .input("w", "n")
      .output("y", "")
      .forward(BODY {
        const auto at = order(c['n'], c.x());
        *c.y() = 0;
        for (auto i : upto(c['n'])) *c.y() += c.x(1)[i] * c.x()[at[i]];
      })
      .backward(BODY {
        const auto at = order(c['n'], c.x());
        for (auto i : upto(c['n'])) {
          c.g(0)[at[i]] = *c.u() * c.x(1)[i];
          c.g(1)[i] = *c.u() * c.x()[i];
        }
      });

  row_op(
      "sparsemax", "nearest point of the simplex", {}, "*b=4 n=12",
      ROW {
        const T s = simplex_shift(r.n, r.x);
        for (auto i : upto(r.n)) r.y[i] = max(r.x[i] - s, T(0));
      },
      ROW {
        const T s = simplex_shift(r.n, r.x);
        T total = 0, count = 0;
        for (auto i : upto(r.n))
          if (r.x[i] > s) total += r.u[i], count += 1;
        for (auto i : upto(r.n)) r.g[i] = r.x[i] > s ? r.u[i] - total / count : T(0);
      });

  row_op(
      "isotonic", "nearest ascending sequence", {}, "*b=1 n=60",
      ROW {
        int64_t begin = 0;
        for (const int64_t end : isotonic_blocks(r.n, r.x)) {
          const T mean = sum(end - begin, r.x + begin) / (end - begin);
          while (begin < end) r.y[begin++] = mean;
        }
      },
      ROW {
        int64_t begin = 0;
        for (const int64_t end : isotonic_blocks(r.n, r.x)) {
          const T mean = sum(end - begin, r.u + begin) / (end - begin);
          while (begin < end) r.g[begin++] = mean;
        }
      });

  row_sum(
      "row_max", "maximum of each row", {}, "*b=3 n=6", ROW { *r.y = largest(r.n, r.x); },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = *r.u / r.n;
      });

  row_sum(
      "spread", "maximum minus minimum", {}, "*b=3 n=6", ROW { *r.y = largest(r.n, r.x) - r.x[argmin(r.n, r.x)]; },
      ROW {
        std::fill_n(r.g, r.n, T(0));
        r.g[argmax(r.n, r.x)] += *r.u;
        r.g[argmin(r.n, r.x)] += *r.u;
      });

  row_sum(
      "max_norm", "max |x|", {-2, 0.5}, "*b=3 n=8",
      ROW {
        *r.y = 0;
        for (auto i : upto(r.n)) *r.y = max(*r.y, fabs(r.x[i]));
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = fabs(r.x[i]) == *r.y ? *r.u : T(0);
      });

  row_op(
      "min_max_scale", "(x - min) / (max - min)", {}, "*b=3 n=6",
      ROW {
        const T low = r.x[argmin(r.n, r.x)], high = largest(r.n, r.x);
        for (auto i : upto(r.n)) r.y[i] = (r.x[i] - low) / (high - low);
      },
      ROW {
        const T low = r.x[argmin(r.n, r.x)], high = largest(r.n, r.x);
        for (auto i : upto(r.n)) r.g[i] = r.u[i] / (high - low);
      })
      .require("needs two values", [](const Sizes& s) { return s['n'] > 1; });
}

}  // namespace
}  // namespace trial
