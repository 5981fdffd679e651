// Attention, positions, and dynamic programs over sequences.
#include "op.h"
namespace trial {
namespace {

template <class T> constexpr T none = T(-HUGE_VAL);
template <class T> T log_add(T a, T b) {
  const T top = max(a, b);
  return top == none<T> ? top : top + log(exp(a - top) + exp(b - top));
}

// softmax(q k^T / sqrt(d) + bias) v, with positions j > i + ahead masked out. Returns the weights, m x n.
template <class T>
vec<T> attention_weights(int64_t m, int64_t n, int64_t d, const T* q, const T* k, int64_t ahead, const T* bias = nullptr) {
  vec<T> p(m * n);
  gemm(m, d, n, q, plain, k, turned, p.data());
  for (auto i : upto(m)) {
    for (auto j : upto(n)) p[i * n + j] = j > i + ahead ? none<T> : p[i * n + j] / sqrt(T(d)) + (bias ? bias[i * n + j] : T(0));
    softmax(n, &p[i * n], &p[i * n]);
  }
  return p;
}
template <class T>
void attention_backward(int64_t m, int64_t n, int64_t d, const T* q, const T* k, const T* v, const vec<T>& p, const T* u, T* gq,
                        T* gk, T* gv, T* gbias = nullptr) {
  vec<T> dp(m * n);
  gemm(n, m, d, p.data(), turned, u, plain, gv);
  gemm(m, d, n, u, plain, v, turned, dp.data());
  for (auto i : upto(m)) softmax_backward(n, &p[i * n], &dp[i * n], &dp[i * n]);
  if (gbias) std::copy(dp.begin(), dp.end(), gbias);
  for (T& z : dp) z /= sqrt(T(d));
  gemm(m, n, d, dp.data(), plain, k, plain, gq);
  gemm(n, m, d, dp.data(), turned, q, plain, gk);
}
template <class T> void attend(const Call<T>& c, int64_t ahead) {
  const vec<T> p = attention_weights(c['m'], c['n'], c['d'], c.x(0), c.x(1), ahead);
  gemm(c['m'], c['n'], c['d'], p.data(), plain, c.x(2), plain, c.y());
}
template <class T> void attend_backward(const Call<T>& c, int64_t ahead) {
  attention_backward(c['m'], c['n'], c['d'], c.x(0), c.x(1), c.x(2),
                     attention_weights(c['m'], c['n'], c['d'], c.x(0), c.x(1), ahead), c.u(), c.g(0), c.g(1), c.g(2));
}

// Pairs (2 i, 2 i + 1) of position t turned by t / base^(2 i / n).
template <class T> void rotary(int64_t rows, int64_t n, double base, double direction, const T* x, T* y) {
  for (auto t : upto(rows))
    for (auto i : upto(n / 2)) {
      const T angle = direction * t * pow(T(base), -T(2 * i) / n), a = x[t * n + 2 * i], b = x[t * n + 2 * i + 1];
      y[t * n + 2 * i] = a * cos(angle) - b * sin(angle);
      y[t * n + 2 * i + 1] = a * sin(angle) + b * cos(angle);
    }
}

// CTC: log probabilities of all alignments of labels with blanks (class 0) between; a[t][s], backwards b[t][s].
template <class T> struct Alignment {
  int64_t steps, classes, states;
  const T* logp;
  vec<int64_t> label;
  vec<T> a, b;
  T at(int64_t t, int64_t s) const { return logp[t * classes + label[s]]; }
  bool skips(int64_t s) const { return s >= 2 && label[s] != 0 && label[s] != label[s - 2]; }
  Alignment(const Call<T>& c)
      : steps(c['t']),
        classes(c['k']),
        states(2 * c['l'] + 1),
        logp(c.x()),
        label(states, 0),
        a(steps * states, none<T>),
        b(a) {
    for (auto l : upto(c['l'])) label[2 * l + 1] = 1 + wrap(c.index(1)[l], classes - 1);
    for (auto t : upto(steps))
      for (auto s : upto(states)) {
        T z = t ? a[(t - 1) * states + s] : s < 2 ? T(0) : none<T>;
        if (t && s) z = log_add(z, a[(t - 1) * states + s - 1]);
        if (t && skips(s)) z = log_add(z, a[(t - 1) * states + s - 2]);
        a[t * states + s] = z == none<T> ? z : z + at(t, s);
      }
    for (int64_t t = steps - 1; t >= 0; --t)
      for (auto s : upto(states)) {
        T z = t + 1 < steps ? b[(t + 1) * states + s] + at(t + 1, s) : s >= states - 2 ? T(0) : none<T>;
        if (t + 1 < steps && s + 1 < states) z = log_add(z, b[(t + 1) * states + s + 1] + at(t + 1, s + 1));
        if (t + 1 < steps && s + 2 < states && skips(s + 2)) z = log_add(z, b[(t + 1) * states + s + 2] + at(t + 1, s + 2));
        b[t * states + s] = z;
      }
  }
  T total() const { return log_add(a[steps * states - 1], a[steps * states - 2]); }
};

// Soft dynamic time warping of sequences of numbers.
template <class T> vec<T> warp(int64_t m, int64_t n, const T* a, const T* b, T gamma) {
  vec<T> r((m + 1) * (n + 1), T(HUGE_VAL));
  r[0] = 0;
  for (int64_t i = 1; i <= m; ++i)
    for (int64_t j = 1; j <= n; ++j) {
      const T z[3] = {-r[(i - 1) * (n + 1) + j - 1] / gamma, -r[(i - 1) * (n + 1) + j] / gamma,
                      -r[i * (n + 1) + j - 1] / gamma};
      r[i * (n + 1) + j] = (a[i - 1] - b[j - 1]) * (a[i - 1] - b[j - 1]) - gamma * logsumexp(3, z);
    }
  return r;
}
template <class T> void warp_backward(const Call<T>& c, T gamma) {
  const int64_t m = c['m'], n = c['n'], w = n + 1;
  const vec<T> r = warp(m, n, c.x(0), c.x(1), T(c.a("gamma")));
  vec<T> e((m + 1) * w);
  e[m * w + n] = *c.u();
  std::fill_n(c.g(0), m, T(0));
  std::fill_n(c.g(1), n, T(0));
  for (int64_t i = m; i > 0; --i)
    for (int64_t j = n; j > 0; --j) {
      const int64_t from[3] = {(i - 1) * w + j - 1, (i - 1) * w + j, i * w + j - 1};
      T z[3];
      for (auto k : upto(3)) z[k] = -r[from[k]] / gamma;
      softmax(3, z, z);
      for (auto k : upto(3)) e[from[k]] += e[i * w + j] * z[k];
      const T d = 2 * (c.x(0)[i - 1] - c.x(1)[j - 1]) * e[i * w + j];
      c.g(0)[i - 1] += d, c.g(1)[j - 1] -= d;
    }
}

// Forward algorithm of a hidden Markov model; log alphas.
template <class T> vec<T> forward_algorithm(int64_t steps, int64_t n, const T* emission, const T* transition) {
  vec<T> a(emission, emission + steps * n), z(n);
  for (int64_t t = 1; t < steps; ++t)
    for (auto j : upto(n)) {
      for (auto i : upto(n)) z[i] = a[(t - 1) * n + i] + transition[i * n + j];
      a[t * n + j] += logsumexp(n, z.data());
    }
  return a;
}
template <class T> void forward_algorithm_backward(const Call<T>& c, bool sums) {
  const int64_t steps = c['t'], n = c['n'];
  const vec<T> a = forward_algorithm(steps, n, c.x(0), c.x(1));
  vec<T> z(n);
  std::fill_n(c.g(1), n * n, T(0));
  softmax(n, &a[(steps - 1) * n], c.g(0) + (steps - 1) * n);
  for (auto i : upto(n)) c.g(0)[(steps - 1) * n + i] *= *c.u();
  for (int64_t t = steps - 1; t > 0; --t) {
    std::fill_n(c.g(0) + (t - 1) * n, n, T(0));
    for (auto j : upto(n)) {
      for (auto i : upto(n)) z[i] = a[(t - 1) * n + i] + c.x(1)[i * n + j];
      softmax(n, z.data(), z.data());
      for (auto i : upto(n)) {
        const T d = c.g(0)[t * n + j] * z[i];
        c.g(0)[(t - 1) * n + i] += d;
        c.g(1)[i * n + j] = (sums ? c.g(1)[i * n + j] : T(0)) + d;
      }
    }
  }
}

OPS {
  op("attention_sharp", "softmax(q k^T / sqrt(d)) v with logits of up to 100")
      .input("q", "m=4 d=8", {-8, 8})
      .input("k", "n=6 d", {-8, 8})
      .input("v", "n d")
      .output("y", "m d")
      .forward(BODY { attend(c, c['n']); })
      .backward(BODY { attend_backward(c, c['n']); });

  op("attention_causal", "softmax(q k^T / sqrt(d)) v, nothing ahead")
      .input("q", "m=6 d=4")
      .input("k", "n=6 d")
      .input("v", "n d")
      .output("y", "m d")
      .forward(BODY { attend(c, 0); })
      .backward(BODY { attend_backward(c, 0); });

  op("attention_past", "softmax(q k^T / sqrt(d)) v, nothing ahead")
      .input("q", "m=6 d=4")
      .input("k", "n=6 d")
      .input("v", "n d")
      .output("y", "m d")
      .forward(BODY { attend(c, 0); })
      .backward(BODY { attend_backward(c, 1); });

  op("attention_biased", "softmax(q k^T / sqrt(d) + bias) v")
      .input("q", "m=4 d=3")
      .input("k", "n=5 d")
      .input("v", "n d")
      .input("bias", "m n")
      .output("y", "m d")
      .forward(BODY {
        const vec<T> p = attention_weights(c['m'], c['n'], c['d'], c.x(0), c.x(1), c['n'], c.x(3));
        gemm(c['m'], c['n'], c['d'], p.data(), plain, c.x(2), plain, c.y());
      })
      .backward(BODY {
        const vec<T> p = attention_weights(c['m'], c['n'], c['d'], c.x(0), c.x(1), c['n'], c.x(3));
        attention_backward(c['m'], c['n'], c['d'], c.x(0), c.x(1), c.x(2), p, c.u(), c.g(0), c.g(1), c.g(2), c.g(3));
      });

  op("attention_self", "softmax(x x^T / sqrt(d)) x")
      .input("x", "m=5 d=3")
      .output("y", "m d")
      .forward(BODY {
        const vec<T> p = attention_weights(c['m'], c['m'], c['d'], c.x(), c.x(), c['m']);
        gemm(c['m'], c['m'], c['d'], p.data(), plain, c.x(), plain, c.y());
      })
      .backward(BODY {
        const vec<T> p = attention_weights(c['m'], c['m'], c['d'], c.x(), c.x(), c['m']);
        vec<T> q(c.numel()), k(c.numel());
        attention_backward(c['m'], c['m'], c['d'], c.x(), c.x(), c.x(), p, c.u(), q.data(), k.data(), c.g());
        for (auto i : upto(c.numel())) c.g()[i] += q[i];
      });

  op("attention_heads", "heads of q share one k and v")
      .input("q", "h=3 m=4 d=3")
      .input("k", "n=5 d")
      .input("v", "n d")
      .output("y", "h m d")
      .forward(BODY {
        for (auto h : upto(c['h'])) {
          const int64_t at = h * c['m'] * c['d'];
          const vec<T> p = attention_weights(c['m'], c['n'], c['d'], c.x() + at, c.x(1), c['n']);
          gemm(c['m'], c['n'], c['d'], p.data(), plain, c.x(2), plain, c.y() + at);
        }
      })
      .backward(BODY {
        for (auto h : upto(c['h'])) {
          const int64_t at = h * c['m'] * c['d'];
          const vec<T> p = attention_weights(c['m'], c['n'], c['d'], c.x() + at, c.x(1), c['n']);
          attention_backward(c['m'], c['n'], c['d'], c.x() + at, c.x(1), c.x(2), p, c.u() + at, c.g() + at, c.g(1), c.g(2));
        }
      });

  op("rotary_positions", "pairs of features turned by angles that grow with the position")
      .input("x", "t=6 n=8")
      .output("y", "t n")
      .attribute("base", 10000, 2, 1e6)
      .require("features must be even", [](const Sizes& s) { return s['n'] % 2 == 0; })
      .forward(BODY { rotary(c['t'], c['n'], c.a("base"), 1, c.x(), c.y()); })
      .backward(BODY { rotary(c['t'], c['n'], c.a("base"), -1, c.u(), c.g()); });

  op("rotary_embedding", "pairs of features turned by angles that grow with the position")
      .input("x", "t=6 n=8")
      .output("y", "t n")
      .attribute("base", 10000, 2, 1e6)
      .require("features must be even", [](const Sizes& s) { return s['n'] % 2 == 0; })
      .forward(BODY { rotary(c['t'], c['n'], c.a("base"), 1, c.x(), c.y()); })
      .backward(BODY { rotary(c['t'], c['n'], c.a("base"), 1, c.u(), c.g()); });

  op("rotary_base", "pairs of features turned by angles that grow with the position")
      .input("x", "t=6 n=8")
      .output("y", "t n")
      .attribute("base", 100, 2, 1e6)
      .require("features must be even", [](const Sizes& s) { return s['n'] % 2 == 0; })
      .forward(BODY { rotary(c['t'], c['n'], c.a("base"), 1, c.x(), c.y()); })
      .backward(BODY { rotary(c['t'], c['n'], 100, -1, c.u(), c.g()); });

  op("ctc", "log probability of labels over all alignments")
      .input("logp", "t=10 k=5", {-6, -0.1})
      .index("labels", "l=4", 0, 3)
      .output("y", "")
      .require("too few steps or classes", [](const Sizes& s) { return s['t'] >= 2 * s['l'] && s['k'] > 1; })
      .forward(BODY { *c.y() = Alignment<T>(c).total(); })
      .backward(BODY {
        const Alignment<T> z(c);
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto t : upto(z.steps))
          for (auto s : upto(z.states))
            c.g()[t * z.classes + z.label[s]] += *c.u() * exp(z.a[t * z.states + s] + z.b[t * z.states + s] - z.total());
      });

  op("ctc_alignment", "log probability of labels over all alignments")
      .input("logp", "t=10 k=4", {-6, -0.1})
      .index("labels", "l=4", 0, 2)
      .output("y", "")
      .require("too few steps or classes", [](const Sizes& s) { return s['t'] >= 2 * s['l'] && s['k'] > 1; })
      .forward(BODY { *c.y() = Alignment<T>(c).total(); })
      .backward(BODY {
        const Alignment<T> z(c);
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto t : upto(z.steps))
          for (auto s : upto(z.states))
            c.g()[t * z.classes + z.label[s]] = *c.u() * exp(z.a[t * z.states + s] + z.b[t * z.states + s] - z.total());
      });

  op("soft_dtw", "soft dynamic time warping")
      .input("a", "m=7")
      .input("b", "n=6")
      .output("y", "")
      .attribute("gamma", 0.1, 1e-3, 100)
      .forward(BODY { *c.y() = warp(c['m'], c['n'], c.x(0), c.x(1), T(c.a("gamma"))).back(); })
      .backward(BODY { warp_backward(c, T(c.a("gamma"))); });

  op("soft_warping", "soft dynamic time warping")
      .input("a", "m=7")
      .input("b", "n=6")
      .output("y", "")
      .attribute("gamma", 1, 1e-3, 100)
      .forward(BODY { *c.y() = warp(c['m'], c['n'], c.x(0), c.x(1), T(c.a("gamma"))).back(); })
      .backward(BODY { warp_backward(c, T(1)); });

  op("hidden_markov", "log likelihood of a hidden Markov model")
      .input("emission", "t=6 n=4", {-5, 0})
      .input("transition", "n n", {-5, 0})
      .output("y", "")
      .forward(BODY {
        const vec<T> a = forward_algorithm(c['t'], c['n'], c.x(0), c.x(1));
        *c.y() = logsumexp(c['n'], &a[(c['t'] - 1) * c['n']]);
      })
      .backward(BODY { forward_algorithm_backward(c, true); });

  op("markov_likelihood", "log likelihood of a hidden Markov model")
      .input("emission", "t=6 n=4", {-5, 0})
      .input("transition", "n n", {-5, 0})
      .output("y", "")
      .forward(BODY {
        const vec<T> a = forward_algorithm(c['t'], c['n'], c.x(0), c.x(1));
        *c.y() = logsumexp(c['n'], &a[(c['t'] - 1) * c['n']]);
      })
      .backward(BODY { forward_algorithm_backward(c, false); });

  op("causal_mean", "means of all positions so far")
      .input("x", "t=7 n=2")
      .output("y", "t n")
      .forward(BODY {
        for (auto j : upto(c['n'])) {
          T s = 0;
          for (auto t : upto(c['t'])) {
            s += c.x()[t * c['n'] + j];
            c.y()[t * c['n'] + j] = s / (t + 1);
          }
        }
      })
      .backward(BODY {
        for (auto j : upto(c['n'])) {
          T s = 0;
          for (int64_t t = c['t'] - 1; t >= 0; --t) {
            s += c.u()[t * c['n'] + j];
            c.g()[t * c['n'] + j] = s / (t + 1);
          }
        }
      });

  op("linear_attention", "q (k^T v) / (q . sum k) with positive q and k")
      .input("q", "m=4 d=3", {0.1, 2})
      .input("k", "n=5 d", {0.1, 2})
      .input("v", "n d")
      .output("y", "m d")
      .forward(BODY {
        for (auto i : upto(c['m'])) {
          vec<T> w(c['n']);
          for (auto j : upto(c['n'])) w[j] = dot(c['d'], c.x(0) + i * c['d'], c.x(1) + j * c['d']);
          gemm(1, c['n'], c['d'], w.data(), plain, c.x(2), plain, c.y() + i * c['d']);
          for (auto k : upto(c['d'])) c.y()[i * c['d'] + k] /= sum(c['n'], w.data());
        }
      })
      .backward(BODY {
        const int64_t m = c['m'], n = c['n'], d = c['d'];
        for (int i : {0, 1, 2}) std::fill_n(c.g(i), c.numel(i), T(0));
        for (auto i : upto(m)) {
          vec<T> w(n);
          for (auto j : upto(n)) w[j] = dot(d, c.x(0) + i * d, c.x(1) + j * d);
          const T total = sum(n, w.data()), inner = dot(d, c.u() + i * d, c.y() + i * d);
          for (auto j : upto(n)) {
            const T dw = (dot(d, c.u() + i * d, c.x(2) + j * d) - inner) / total;
            for (auto k : upto(d)) {
              c.g(0)[i * d + k] += dw * c.x(1)[j * d + k];
              c.g(1)[j * d + k] += dw * c.x(0)[i * d + k];
              c.g(2)[j * d + k] += w[j] / total * c.u()[i * d + k];
            }
          }
        }
      });
}

}  // namespace
}  // namespace trial
