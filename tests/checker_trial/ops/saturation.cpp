// Functions that saturate: sigmoids, softmax and its relatives, tails.
#include "op.h"
namespace trial {
namespace {

OPS {
  unary(
      "tanh_plateau", "tanh far from 0", {4, 18}, [](auto x) { return tanh(x); },
      [](auto x) {
        const auto e = exp(-2 * x);
        return 4 * e / ((1 + e) * (1 + e));
      });

  unary(
      "sigmoid_tails", "sigmoid", {-40, 40}, [](auto x) { return sigmoid(x); },
      [](auto x) {
        const auto e = exp(-fabs(x));
        return e / ((1 + e) * (1 + e));
      });

  unary(
      "sigmoid_wide", "sigmoid", {-8, 8}, [](auto x) { return sigmoid(x); },
      [](auto x) {
        using T = decltype(x);
        const T y = min(max(sigmoid(x), T(0.01)), T(0.99));
        return y * (1 - y);
      },
      "*s=5,6");

  unary(
      "log_sigmoid", "log(sigmoid(x))", {-700, 700}, [](auto x) { return -softplus(-x); }, [](auto x) { return sigmoid(-x); });

  unary(
      "sigmoid_shifted", "sigmoid(x - 18)", {-2, 2}, [](auto x) { return sigmoid(x - 18); },
      [](auto x) {
        using T = decltype(x);
        const T y = max(sigmoid(x - 18), T(1e-7));
        return y * (1 - y);
      });

  unary(
      "softplus_wide", "log(1 + exp(x))", {-6, 6}, [](auto x) { return softplus(x); },
      [](auto x) { return x > 3 ? decltype(x)(1) : sigmoid(x); }, "*s=6,8");

  unary(
      "erfc_tail", "erfc far to the right", {3, 8}, [](auto x) { return erfc(x); },
      [](auto x) { return -2 / sqrt(decltype(x)(pi)) * exp(-x * x); });

  unary("erf_center", "erf", {-1, 1}, [](auto x) { return erf(x); }, [](auto x) { return 1.128 * exp(-x * x); });

  unary(
      "log_cosh", "log(cosh(x)), for large x too", {-400, 400},
      [](auto x) { return fabs(x) + log1p(exp(-2 * fabs(x))) - 0.6931471805599453; }, [](auto x) { return tanh(x); });

  unary(
      "softsign_far", "x / (1 + |x|) far from 0", {1e5, 1e6}, [](auto x) { return x / (1 + fabs(x)); },
      [](auto x) { return 1 / ((1 + fabs(x)) * (1 + fabs(x))); });

  unary("arctan_far", "atan far from 0", {1e3, 1e6}, [](auto x) { return atan(x); }, [](auto x) { return 1 / (1 + x * x); });

  unary(
      "silu", "x sigmoid(x)", {-30, 30}, [](auto x) { return x * sigmoid(x); },
      [](auto x) {
        const auto s = sigmoid(x);
        return s + x * s * sigmoid(-x);
      });

  unary(
      "swish_gate", "x sigmoid(1.702 x)", {}, [](auto x) { return x * sigmoid(1.702 * x); },
      [](auto x) {
        const auto s = sigmoid(1.702 * x);
        return s + x * s * (1 - s);
      });

  op("softplus_hard", "log(1 + exp(beta x)) / beta")
      .input("x", "*s=3,4", {-1, 1})
      .output("y", "*s")
      .attribute("beta", 1000, 1e-3, 1e6)
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = softplus(c.a("beta") * c.x()[i]) / c.a("beta");
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g()[i] = c.u()[i] * sigmoid(c.a("beta") * c.x()[i]);
      });

  op("soft_cap", "cap tanh(x / cap)")
      .input("x", "*s=3,4", {-60, 60})
      .output("y", "*s")
      .attribute("cap", 30, 1e-3, 1e6)
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = c.a("cap") * tanh(c.x()[i] / c.a("cap"));
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) {
          const T t = c.y()[i] / c.a("cap");
          c.g()[i] = c.u()[i] * (1 - t * t) / c.a("cap");
        }
      });

  row_op(
      "softmax_sharp", "softmax of large logits", {-50, 50}, "*b=3 n=5", ROW { softmax(r.n, r.x, r.y); },
      ROW { softmax_backward(r.n, r.y, r.u, r.g); });

  row_op(
      "softmax_centered", "softmax of the last axis", {}, "*b=3 n=5", ROW { softmax(r.n, r.x, r.y); },
      ROW {
        const T mean = sum(r.n, r.u) / r.n;
        for (auto i : upto(r.n)) r.g[i] = r.y[i] * (r.u[i] - mean);
      });

  row_op(
      "softmin", "softmax(-x)", {}, "*b=3 n=5",
      ROW {
        vec<T> negative(r.n);
        for (auto i : upto(r.n)) negative[i] = -r.x[i];
        softmax(r.n, negative.data(), r.y);
      },
      ROW { softmax_backward(r.n, r.y, r.u, r.g); });

  row_op(
      "log_softmax_far", "log softmax of logits up to 500", {-500, 500}, "*b=3 n=5",
      ROW {
        const T total = logsumexp(r.n, r.x);
        for (auto i : upto(r.n)) r.y[i] = r.x[i] - total;
      },
      ROW {
        const T all = sum(r.n, r.u);
        for (auto i : upto(r.n)) r.g[i] = r.u[i] - exp(r.y[i]) * all;
      });

  row_op(
      "log_softmax", "log softmax of the last axis", {}, "*b=3 n=5",
      ROW {
        const T total = logsumexp(r.n, r.x);
        for (auto i : upto(r.n)) r.y[i] = r.x[i] - total;
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = r.u[i] - exp(r.y[i]) * r.u[i];
      });

  row_sum(
      "logsumexp_far", "log(sum(exp(x))) of values up to 1e4", {9900, 10000}, "*b=3 n=5", ROW { *r.y = logsumexp(r.n, r.x); },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = *r.u * exp(r.x[i] - *r.y);
      });

  row_sum(
      "logsumexp_high", "log(sum(exp(x)))", {700, 720}, "*b=3 n=5", ROW { *r.y = logsumexp(r.n, r.x); },
      ROW {
        double total = 0;  // of exp(x), as double holds it
        for (auto i : upto(r.n)) total += std::exp(static_cast<double>(r.x[i]));
        for (auto i : upto(r.n)) r.g[i] = *r.u * std::exp(static_cast<double>(r.x[i])) / total;
      });

  row_sum(
      "log2_sum_exp2", "log2(sum(2^x))", {}, "*b=3 n=5",
      ROW {
        T total = 0;
        for (auto i : upto(r.n)) total += exp2(r.x[i]);
        *r.y = log2(total);
      },
      ROW {
        softmax(r.n, r.x, r.g);
        for (auto i : upto(r.n)) r.g[i] *= *r.u;
      });

  row_sum(
      "log10_sum_exp10", "log10(sum(10^x))", {}, "*b=3 n=5",
      ROW {
        T total = 0;
        for (auto i : upto(r.n)) total += pow(T(10), r.x[i]);
        *r.y = log10(total);
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = *r.u * pow(T(10), r.x[i] - *r.y);
      });

  row_sum(
      "exp_sum_below_max", "sum(exp(x - max(x)))", {}, "*b=3 n=5",
      ROW {
        const T top = largest(r.n, r.x);
        *r.y = 0;
        for (auto i : upto(r.n)) *r.y += exp(r.x[i] - top);
      },
      ROW {
        const T top = largest(r.n, r.x);
        for (auto i : upto(r.n)) r.g[i] = *r.u * exp(r.x[i] - top);
      });

  row_sum(
      "smooth_max", "sum(x softmax(4 x))", {}, "*b=3 n=5",
      ROW {
        vec<T> scaled(r.n), weight(r.n);
        for (auto i : upto(r.n)) scaled[i] = 4 * r.x[i];
        softmax(r.n, scaled.data(), weight.data());
        *r.y = dot(r.n, r.x, weight.data());
      },
      ROW {
        vec<T> scaled(r.n);
        for (auto i : upto(r.n)) scaled[i] = 4 * r.x[i];
        softmax(r.n, scaled.data(), r.g);
        for (auto i : upto(r.n)) r.g[i] *= *r.u;
      });

  row_sum(
      "softmax_entropy", "entropy of softmax(x), which is often almost certain", {-20, 20}, "*b=3 n=5",
      ROW {
        const T total = logsumexp(r.n, r.x);
        *r.y = 0;
        for (auto i : upto(r.n)) *r.y += exp(r.x[i] - total) * (total - r.x[i]);
      },
      ROW {
        const T total = logsumexp(r.n, r.x);
        for (auto i : upto(r.n)) r.g[i] = -*r.u * exp(r.x[i] - total) * (r.x[i] - total + *r.y);
      });

  op("softmax_temperature", "softmax(x / temperature)")
      .input("x", "*b=3 n=5")
      .output("y", "*b n")
      .attribute("temperature", 1, 1e-3, 1e3)
      .forward(BODY {
        vec<T> scaled(c['n']);
        for (auto row : upto(c['b'])) {
          for (auto i : upto(c['n'])) scaled[i] = c.x()[row * c['n'] + i] / c.a("temperature");
          softmax(c['n'], scaled.data(), c.y() + row * c['n']);
        }
      })
      .backward(BODY {
        for (auto row : upto(c['b']))
          softmax_backward(c['n'], c.y() + row * c['n'], c.u() + row * c['n'], c.g() + row * c['n']);
      });

  op("softmax_cold", "softmax(x / temperature) of a low temperature")
      .input("x", "*b=3 n=5")
      .output("y", "*b n")
      .attribute("temperature", 0.01, 1e-4, 1e3)
      .forward(BODY {
        vec<T> scaled(c['n']);
        for (auto row : upto(c['b'])) {
          for (auto i : upto(c['n'])) scaled[i] = c.x()[row * c['n'] + i] / c.a("temperature");
          softmax(c['n'], scaled.data(), c.y() + row * c['n']);
        }
      })
      .backward(BODY {
        for (auto row : upto(c['b'])) {
          const T *y = c.y() + row * c['n'], *u = c.u() + row * c['n'];
          for (auto i : upto(c['n'])) {
            T change = 0;
            for (auto j : upto(c['n'])) change += y[j] * (u[i] - u[j]);
            c.g()[row * c['n'] + i] = y[i] * change / c.a("temperature");
          }
        }
      });
}

}  // namespace
}  // namespace trial
