// Recurrences: maps, differential equations, recurrent networks, running products and sums.
#include "op.h"
namespace trial {
namespace {

template <class T> struct Vec3 {
  T x, y, z;
};
template <class T> Vec3<T> operator+(Vec3<T> a, Vec3<T> b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
template <class T> Vec3<T> operator*(T s, Vec3<T> a) { return {s * a.x, s * a.y, s * a.z}; }
template <class T> Vec3<T> lorenz(Vec3<T> p) { return {10 * (p.y - p.x), p.x * (28 - p.z) - p.y, p.x * p.y - T(8) / 3 * p.z}; }
template <class T> Vec3<T> lorenz_tangent(Vec3<T> p, Vec3<T> v) {
  return {10 * (v.y - v.x), v.x * (28 - p.z) - p.x * v.z - v.y, v.x * p.y + p.x * v.y - T(8) / 3 * v.z};
}
// Runge-Kutta steps of 0.01 of the Lorenz system, and of a vector that moves along with it.
template <class T> void lorenz_run(int steps, Vec3<T>& p, Vec3<T>& v) {
  const T h = 0.01;
  for (int step = 0; step < steps; ++step) {
    Vec3<T> k = lorenz(p), w = lorenz_tangent(p, v), total = k, total_w = w;
    for (int stage = 1; stage < 4; ++stage) {
      const T to = stage == 3 ? h : h / 2, weight = stage == 3 ? 1 : 2;
      const Vec3<T> at = p + to * k, moved = v + to * w;
      k = lorenz(at);
      w = lorenz_tangent(at, moved);
      total = total + weight * k;
      total_w = total_w + weight * w;
    }
    p = p + (h / 6) * total;
    v = v + (h / 6) * total_w;
  }
}

// h[t] = tanh(w h[t - 1] + x[t]); states has one more row than x, the first one 0.
template <class T> vec<T> rnn(int64_t steps, int64_t n, const T* x, const T* w) {
  vec<T> h((steps + 1) * n);
  for (auto t : upto(steps))
    for (auto i : upto(n)) h[(t + 1) * n + i] = tanh(x[t * n + i] + dot(n, w + i * n, &h[t * n]));
  return h;
}
// `carry`: how many steps the gradient goes back; `lag`: which state w's gradient is taken with.
template <class T> void rnn_backward(const Call<T>& c, int64_t carry, int64_t lag) {
  const int64_t steps = c['t'], n = c['n'];
  const vec<T> h = rnn(steps, n, c.x(0), c.x(1));
  std::fill_n(c.g(1), n * n, T(0));
  std::fill_n(c.g(0), steps * n, T(0));
  for (auto last : upto(steps)) {
    vec<T> back(c.u() + last * n, c.u() + (last + 1) * n), next(n);
    for (int64_t t = last; t >= max<int64_t>(0, last - carry); --t) {
      for (auto i : upto(n)) {
        const T d = back[i] * (1 - h[(t + 1) * n + i] * h[(t + 1) * n + i]);
        c.g(0)[t * n + i] += d;
        for (auto j : upto(n)) c.g(1)[i * n + j] += d * h[(t + 1 - lag) * n + j];
        next[i] = d;
      }
      gemm(1, n, n, next.data(), plain, c.x(1), plain, back.data());
    }
  }
}
template <class T> void rnn_outputs(const Call<T>& c) {
  const vec<T> h = rnn(c['t'], c['n'], c.x(0), c.x(1));
  std::copy(h.begin() + c['n'], h.end(), c.y());
}

OPS {
  op("logistic_map", "30 steps of x -> 3.9 x (1 - x)")
      .input("x", "*s=6", {0.1, 0.9})
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) {
          T z = c.x()[i];
          for (int k = 0; k < 30; ++k) z = 3.9 * z * (1 - z);
          c.y()[i] = z;
        }
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) {
          T z = c.x()[i], slope = 1;
          for (int k = 0; k < 30; ++k) {
            slope *= 3.9 * (1 - 2 * z);
            z = 3.9 * z * (1 - z);
          }
          c.g()[i] = c.u()[i] * slope;
        }
      });

  op("lorenz", "300 Runge-Kutta steps of the Lorenz system")
      .input("x", "n=2 3", {-10, 10})
      .output("y", "n 3")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          Vec3<T> p{c.x()[3 * i], c.x()[3 * i + 1], c.x()[3 * i + 2]}, v{0, 0, 0};
          lorenz_run(300, p, v);
          c.y()[3 * i] = p.x, c.y()[3 * i + 1] = p.y, c.y()[3 * i + 2] = p.z;
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n']))
          for (auto j : upto(3)) {
            Vec3<T> p{c.x()[3 * i], c.x()[3 * i + 1], c.x()[3 * i + 2]}, v{T(j == 0), T(j == 1), T(j == 2)};
            lorenz_run(300, p, v);
            c.g()[3 * i + j] = c.u()[3 * i] * v.x + c.u()[3 * i + 1] * v.y + c.u()[3 * i + 2] * v.z;
          }
      });

  row_op(
      "cumulative_product", "running product", {0.5, 1.6}, "*b=2 n=40",
      ROW {
        T p = 1;
        for (auto i : upto(r.n)) r.y[i] = p *= r.x[i];
      },
      ROW {
        T s = 0;
        for (int64_t i = r.n - 1; i >= 0; --i) {
          s += r.u[i] * r.y[i];
          r.g[i] = s / r.x[i];
        }
      });

  row_op(
      "running_product", "running product", {0.5, 1.5}, "*b=2 n=6",
      ROW {
        T p = 1;
        for (auto i : upto(r.n)) r.y[i] = p *= r.x[i];
      },
      ROW {
        T s = 0;
        for (int64_t i = r.n - 1; i >= 0; --i) {
          r.g[i] = s / r.x[i];
          s += r.u[i] * r.y[i];
        }
      });

  row_op(
      "cumulative_sum", "running sum", {}, "*b=2 n=6",
      ROW {
        T s = 0;
        for (auto i : upto(r.n)) r.y[i] = s += r.x[i];
      },
      ROW {
        T s = 0;
        for (auto i : upto(r.n)) r.g[i] = s += r.u[i];
      });

  row_sum(
      "product", "product of 60 factors", {-3, 3}, "*b=2 n=60",
      ROW {
        *r.y = 1;
        for (auto i : upto(r.n)) *r.y *= r.x[i];
      },
      ROW {
        T before = *r.u, after = 1;
        for (auto i : upto(r.n)) {
          r.g[i] = before;
          before *= r.x[i];
        }
        for (int64_t i = r.n - 1; i >= 0; --i) {
          r.g[i] *= after;
          after *= r.x[i];
        }
      });

  row_sum(
      "geometric_mean", "exp(mean(log x))", {0.2, 3}, "*b=2 n=6",
      ROW {
        T s = 0;
        for (auto i : upto(r.n)) s += log(r.x[i]);
        *r.y = exp(s / r.n);
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = *r.u * *r.y / r.x[i];
      });

  row_sum(
      "continued_fraction", "a0 + 1 / (a1 + 1 / (a2 + ...))", {0.5, 2}, "*b=2 n=12",
      ROW {
        T z = r.x[r.n - 1];
        for (int64_t i = r.n - 2; i >= 0; --i) z = r.x[i] + 1 / z;
        *r.y = z;
      },
      ROW {
        vec<T> tail(r.n, r.x[r.n - 1]);
        for (int64_t i = r.n - 2; i >= 0; --i) tail[i] = r.x[i] + 1 / tail[i + 1];
        T slope = *r.u;
        for (auto i : upto(r.n)) {
          if (i) slope /= -tail[i] * tail[i];
          r.g[i] = slope;
        }
      });

  row_op(
      "differences", "x[i + 1] - x[i], and 0 at the end", {}, "*b=2 n=6",
      ROW {
        for (auto i : upto(r.n)) r.y[i] = i + 1 < r.n ? r.x[i + 1] - r.x[i] : T(0);
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = (i ? r.u[i - 1] : T(0)) - r.u[i];
      });

  row_sum(
      "trapezoid", "integral by the trapezoidal rule with step 0.1", {}, "*b=2 n=6",
      ROW {
        *r.y = 0;
        for (auto i : upto(r.n - 1)) *r.y += (r.x[i] + r.x[i + 1]) / 20;
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = *r.u / 10;
      });

  row_op(
      "autoregression", "y[t] = x[t] + 0.5 y[t - 1] - 0.3 y[t - 2]", {}, "*b=2 n=7",
      ROW {
        for (auto t : upto(r.n)) r.y[t] = r.x[t] + (t > 0 ? T(0.5) * r.y[t - 1] : T(0)) - (t > 1 ? T(0.3) * r.y[t - 2] : T(0));
      },
      ROW {
        for (int64_t t = r.n - 1; t >= 0; --t)
          r.g[t] = r.u[t] + (t + 1 < r.n ? T(0.5) * r.g[t + 1] - T(0.3) * r.g[t + 1] : T(0));
      });

  op("discounted_return", "g[t] = r[t] + discount g[t + 1]")
      .input("r", "*b=2 n=6")
      .output("g", "*b n")
      .attribute("discount", 0.99, 0, 1)
      .forward(BODY {
        for (auto row : upto(c['b'])) {
          T total = 0;
          for (int64_t t = c['n'] - 1; t >= 0; --t)
            c.y()[row * c['n'] + t] = total = c.x()[row * c['n'] + t] + c.a("discount") * total;
        }
      })
      .backward(BODY {
        for (auto row : upto(c['b'])) {
          T total = 0;
          for (auto t : upto(c['n'])) c.g()[row * c['n'] + t] = total = c.u()[row * c['n'] + t] + 0.99 * total;
        }
      });

  op("smoothing", "y[t] = a y[t - 1] + (1 - a) x[t]")
      .input("x", "n=50")
      .input("a", "", {0.9, 0.999})
      .output("y", "n")
      .forward(BODY {
        T y = 0;
        for (auto t : upto(c['n'])) c.y()[t] = y = *c.x(1) * y + (1 - *c.x(1)) * c.x()[t];
      })
      .backward(BODY {
        T carry = 0, by_a = 0;
        for (int64_t t = c['n'] - 1; t >= 0; --t) {
          const T d = c.u()[t] + carry;
          c.g()[t] = (1 - *c.x(1)) * d;
          by_a += d * ((t ? c.y()[t - 1] : T(0)) - c.x()[t]);
          carry = *c.x(1) * d;
        }
        *c.g(1) = by_a;
      });

  op("leaky_integrator", "y[t] = a y[t - 1] + x[t]")
      .input("x", "n=8")
      .input("a", "", {0.5, 0.9})
      .output("y", "n")
      .forward(BODY {
        T y = 0;
        for (auto t : upto(c['n'])) c.y()[t] = y = *c.x(1) * y + c.x()[t];
      })
      .backward(BODY {
        T carry = 0;
        *c.g(1) = 0;
        for (int64_t t = c['n'] - 1; t >= 0; --t) {
          c.g()[t] = carry = c.u()[t] + *c.x(1) * carry;
          if (t) *c.g(1) += c.u()[t] * c.y()[t - 1];
        }
      });

  op("rnn", "states of h[t] = tanh(w h[t - 1] + x[t])")
      .input("x", "t=6 n=4")
      .input("w", "n n")
      .output("h", "t n")
      .forward(BODY { rnn_outputs(c); })
      .backward(BODY { rnn_backward(c, c['t'], 1); });

  op("rnn_states", "states of h[t] = tanh(w h[t - 1] + x[t])")
      .input("x", "t=5 n=3")
      .input("w", "n n")
      .output("h", "t n")
      .forward(BODY { rnn_outputs(c); })
      .backward(BODY { rnn_backward(c, c['t'], 0); });

  op("rnn_layer", "states of h[t] = tanh(w h[t - 1] + x[t])")
      .input("x", "t=7 n=3")
      .input("w", "n n")
      .output("h", "t n")
      .forward(BODY { rnn_outputs(c); })
      .backward(BODY { rnn_backward(c, 4, 1); });

  op("lstm_cell", "next cell state and output from the gates' logits")
      .input("gates", "4 n=5")
      .input("cell", "n")
      .output("h", "n")
      .output("next", "n")
      .forward(BODY {
        const int64_t n = c['n'];
        for (auto i : upto(n)) {
          const T* z = c.x() + i;
          c.y(1)[i] = sigmoid(z[n]) * c.x(1)[i] + sigmoid(z[0]) * tanh(z[2 * n]);
          c.y(0)[i] = sigmoid(z[3 * n]) * tanh(c.y(1)[i]);
        }
      })
      .backward(BODY {
        const int64_t n = c['n'];
        for (auto i : upto(n)) {
          const T *z = c.x() + i, in = sigmoid(z[0]), keep = sigmoid(z[n]), value = tanh(z[2 * n]), out = sigmoid(z[3 * n]),
                  t = tanh(c.y(1)[i]);
          const T d = c.u(1)[i] + c.u(0)[i] * out * (1 - t * t);
          c.g()[i] = d * value * in * (1 - in);
          c.g()[n + i] = d * c.x(1)[i] * keep * (1 - keep);
          c.g()[2 * n + i] = d * in * (1 - value * value);
          c.g()[3 * n + i] = c.u(0)[i] * t * out * (1 - out);
          c.g(1)[i] = d * keep;
        }
      });

  op("lstm_update", "next cell state and output from the gates' logits")
      .input("gates", "n=5 4")
      .input("cell", "n")
      .output("h", "n")
      .output("next", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          const T* z = c.x() + 4 * i;
          c.y(1)[i] = sigmoid(z[1]) * c.x(1)[i] + sigmoid(z[0]) * tanh(z[2]);
          c.y(0)[i] = sigmoid(z[3]) * tanh(c.y(1)[i]);
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          const T *z = c.x() + 4 * i, in = sigmoid(z[0]), keep = sigmoid(z[1]), value = tanh(z[2]), out = sigmoid(z[3]),
                  t = tanh(c.y(1)[i]);
          const T d = c.u(1)[i] + c.u(0)[i] * out * (1 - t * t);
          c.g()[4 * i] = d * value * in * (1 - in);
          c.g()[4 * i + 1] = d * c.x(1)[i] * keep * (1 - keep);
          c.g()[4 * i + 2] = d * in * (1 - value * value);
          c.g()[4 * i + 3] = c.u(0)[i] * t * out * (1 - out);
          c.g(1)[i] = d * in;
        }
      });

  op("gru_cell", "(1 - z) n + z h, z = sigmoid(a), n = tanh(b)")
      .input("a", "*s=3,4")
      .input("b", "*s")
      .input("h", "*s")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) {
          const T z = sigmoid(c.x(0)[i]);
          c.y()[i] = (1 - z) * tanh(c.x(1)[i]) + z * c.x(2)[i];
        }
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) {
          const T z = sigmoid(c.x(0)[i]), n = tanh(c.x(1)[i]), u = c.u()[i];
          c.g(0)[i] = u * (n - c.x(2)[i]) * z * (1 - z);
          c.g(1)[i] = u * (1 - z) * (1 - n * n);
          c.g(2)[i] = u * z;
        }
      });

  op("pendulum", "100 leapfrog steps of angles and momenta")
      .input("q", "n=4", {-2, 2})
      .input("p", "n", {-1, 1})
      .output("q1", "n")
      .output("p1", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          T q = c.x(0)[i], p = c.x(1)[i];
          for (int k = 0; k < 100; ++k) {
            p -= 0.05 * sin(q);
            q += 0.1 * p;
            p -= 0.05 * sin(q);
          }
          c.y(0)[i] = q, c.y(1)[i] = p;
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {  // the steps are reversible: states from the last one backwards
          T a = c.u(0)[i], b = c.u(1)[i];
          vec<T> first(100), second(100);
          T q = c.x(0)[i], p = c.x(1)[i];
          for (int k = 0; k < 100; ++k) {
            first[k] = q;
            p -= 0.05 * sin(q);
            q += 0.1 * p;
            second[k] = q;
            p -= 0.05 * sin(q);
          }
          for (int k = 99; k >= 0; --k) {
            a -= 0.05 * cos(second[k]) * b;
            b += 0.1 * a;
            a -= 0.05 * cos(first[k]) * b;
          }
          c.g(0)[i] = a, c.g(1)[i] = b;
        }
      });

  op("spring", "20 leapfrog steps of a hard spring")
      .input("q", "n=4", {-1, 1})
      .input("p", "n", {-1, 1})
      .output("q1", "n")
      .output("p1", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          T q = c.x(0)[i], p = c.x(1)[i];
          for (int k = 0; k < 20; ++k) {
            p -= 0.05 * q * q * q;
            q += 0.1 * p;
            p -= 0.05 * q * q * q;
          }
          c.y(0)[i] = q, c.y(1)[i] = p;
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          vec<T> state(20);
          T q = c.x(0)[i], p = c.x(1)[i], a = c.u(0)[i], b = c.u(1)[i];
          for (int k = 0; k < 20; ++k) {
            state[k] = q;
            p -= 0.05 * q * q * q;
            q += 0.1 * p;
            p -= 0.05 * q * q * q;
          }
          for (int k = 19; k >= 0; --k) {
            const T slope = 3 * state[k] * state[k];
            a -= 0.05 * slope * b;
            b += 0.1 * a;
            a -= 0.05 * slope * b;
          }
          c.g(0)[i] = a, c.g(1)[i] = b;
        }
      });

  unary(
      "logistic_growth", "10 Euler steps of x' = x (1 - x)", {0.1, 0.5},
      [](auto x) {
        for (int k = 0; k < 10; ++k) x += 0.1 * x * (1 - x);
        return x;
      },
      [](auto x) {  // the adjoint equation
        auto slope = x * 0 + 1;
        for (int k = 0; k < 10; ++k) {
          x += 0.1 * x * (1 - x);
          slope += 0.1 * (1 - 2 * x) * slope;
        }
        return slope;
      });

  unary(
      "logistic_runge", "one Runge-Kutta step of x' = x (1 - x)", {0.1, 0.5},
      [](auto x) {
        const auto k1 = x * (1 - x), b = x + k1 / 2, k2 = b * (1 - b), e = x + k2 / 2, k3 = e * (1 - e), f = x + k3,
                   k4 = f * (1 - f);
        return x + (k1 + 2 * k2 + 2 * k3 + k4) / 6;
      },
      [](auto x) {
        const auto k1 = x * (1 - x), b = x + k1 / 2, k2 = b * (1 - b), e = x + k2 / 2, k3 = e * (1 - e), f = x + k3;
        const auto d1 = 1 - 2 * x, d2 = (1 - 2 * b) * (1 + d1 / 2), d3 = (1 - 2 * e) * (1 + d2 / 2),
                   d4 = (1 - 2 * f) * (1 + d3);
        return 1 + (d1 + 2 * d2 + 2 * d3 + d4) / 6;
      });

  op("heat", "40 explicit steps of the heat equation with conductivity k, insulated ends")
      .input("x", "n=10")
      .input("k", "", {0.1, 0.4})
      .output("y", "n")
      .forward(BODY {
        vec<T> now(c.x(), c.x() + c['n']), next = now;
        const int64_t n = c['n'];
        for (int step = 0; step < 40; ++step, now = next)
          for (auto i : upto(n))
            next[i] = now[i] + *c.x(1) * (now[max<int64_t>(i - 1, 0)] - 2 * now[i] + now[min(i + 1, n - 1)]);
        std::copy(now.begin(), now.end(), c.y());
      })
      .backward(BODY {  // the step is symmetric
        const int64_t n = c['n'];
        vec<vec<T>> states(1, vec<T>(c.x(), c.x() + n));
        for (int step = 0; step < 40; ++step) {
          vec<T> now = states.back(), next = now;
          for (auto i : upto(n)) next[i] += *c.x(1) * (now[max<int64_t>(i - 1, 0)] - 2 * now[i] + now[min(i + 1, n - 1)]);
          states.push_back(next);
        }
        vec<T> back(c.u(), c.u() + n);
        *c.g(1) = 0;
        for (int step = 39; step >= 0; --step) {
          const vec<T>& now = states[step];
          const vec<T> old = back;
          for (auto i : upto(n)) {
            const int64_t left = max<int64_t>(i - 1, 0), right = min(i + 1, n - 1);
            *c.g(1) += old[i] * (now[left] - 2 * now[i] + now[right]);
            back[i] += *c.x(1) * (old[left] - 2 * old[i] + old[right]);
          }
        }
        std::copy(back.begin(), back.end(), c.g());
      });

  op("diffusion", "5 explicit steps of the heat equation, insulated ends")
      .input("x", "n=10")
      .output("y", "n")
      .forward(BODY {
        vec<T> now(c.x(), c.x() + c['n']), next = now;
        const int64_t n = c['n'];
        for (int step = 0; step < 5; ++step, now = next)
          for (auto i : upto(n)) next[i] = now[i] + (now[max<int64_t>(i - 1, 0)] - 2 * now[i] + now[min(i + 1, n - 1)]) / 4;
        std::copy(now.begin(), now.end(), c.y());
      })
      .backward(BODY {
        vec<T> now(c.u(), c.u() + c['n']), next = now;
        const int64_t n = c['n'];
        for (int step = 0; step < 5; ++step, now = next)
          for (auto i : upto(n))
            next[i] = now[i] + ((i ? now[i - 1] : T(0)) - 2 * now[i] + (i + 1 < n ? now[i + 1] : T(0))) / 4;
        std::copy(now.begin(), now.end(), c.g());
      });

  binary(
      "compound_interest", "(1 + rate / 365)^(365 years)", {0.01, 0.1}, {1, 30},
      [](auto rate, auto years) { return exp(365 * years * log1p(rate / 365)); },
      [](auto rate, auto years) { return years * exp(365 * years * log1p(rate / 365)) / (1 + rate / 365); },
      [](auto rate, auto years) { return 365 * log1p(rate / 365) * exp(365 * years * log1p(rate / 365)); });
}

}  // namespace
}  // namespace trial
