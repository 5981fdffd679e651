// Corners, declared or not, and features that are narrower than usual steps.
#include "op.h"
namespace trial {
namespace {

OPS {
  unary(
      "hardswish", "x clip(x + 3, 0, 6) / 6", {-5, 5},
      [](auto x) {
        using T = decltype(x);
        return x * min(max(x + 3, T(0)), T(6)) / 6;
      },
      [](auto x) {
        using T = decltype(x);
        return x <= -3 ? T(0) : x >= 3 ? T(1) : (2 * x + 3) / 6;
      });

  unary(
      "hard_swish", "x clip(x + 3, 0, 6) / 6", {-5, 5},
      [](auto x) {
        using T = decltype(x);
        return x * min(max(x + 3, T(0)), T(6)) / 6;
      },
      [](auto x) {
        using T = decltype(x);
        return x < -3 ? T(0) : x > 3 ? T(1) : x / 3;
      });

  unary(
      "hardsigmoid", "clip(x / 6 + 0.5, 0, 1)", {-5, 5},
      [](auto x) {
        using T = decltype(x);
        return min(max(x / 6 + 0.5, T(0)), T(1));
      },
      [](auto x) { return x > -3 && x < 3 ? decltype(x)(1) / 6 : 0; });

  unary(
      "hardtanh", "clip(x, -1, 1)", {-2, 2},
      [](auto x) {
        using T = decltype(x);
        return min(max(x, T(-1)), T(1));
      },
      [](auto x) { return decltype(x)(x > -1); }, "*s=5,6");

  unary(
      "relu6", "clip(x, 0, 6)", {-8, 8},
      [](auto x) {
        using T = decltype(x);
        return min(max(x, T(0)), T(6));
      },
      [](auto x) { return decltype(x)(x > 0 && x < 6); });

  unary(
      "leaky_relu", "x, or 0.01 x below 0", {0, 0, {0}}, [](auto x) { return x > 0 ? x : 0.01 * x; },
      [](auto x) {
        using T = decltype(x);
        return x > 0 ? T(1) : T(0.01);
      });

  unary(
      "relu_leaky", "x, or 0.01 x below 0", {0, 0, {0}}, [](auto x) { return x > 0 ? x : 0.01 * x; },
      [](auto x) {
        using T = decltype(x);
        return x > 0 ? T(1) : T(-0.01);
      });

  unary(
      "celu", "max(0, x) + min(0, 2 (exp(x / 2) - 1))", {-4, 3},
      [](auto x) {
        using T = decltype(x);
        return max(x, T(0)) + min(T(0), 2 * expm1(x / 2));
      },
      [](auto x) {
        using T = decltype(x);
        return x > 0 ? T(1) : exp(x / 2);
      });

  unary(
      "selu", "1.0507 (x or 1.67326 (exp(x) - 1) below 0)", {-4, 3},
      [](auto x) { return 1.0507 * (x > 0 ? x : 1.67326 * expm1(x)); },
      [](auto x) {
        using T = decltype(x);
        return x > 0 ? T(1.0507) : 1.0507 * exp(x);
      });

  op("elu", "x, or alpha (exp(x) - 1) below 0")
      .input("x", "*s=3,4", {-4, 3})
      .output("y", "*s")
      .attribute("alpha", 1, 0.01, 100)
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = c.x()[i] > 0 ? c.x()[i] : c.a("alpha") * expm1(c.x()[i]);
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g()[i] = c.u()[i] * (c.x()[i] > 0 ? T(1) : c.y()[i] + 1);
      });

  op("prelu", "x, or w[j] x below 0")
      .input("x", "n=4 k=3")
      .input("w", "k", {0, 0.5})
      .output("y", "n k")
      .forward(BODY {
        for (auto i : upto(c.numel())) c.y()[i] = c.x()[i] > 0 ? c.x()[i] : c.x(1)[i % c['k']] * c.x()[i];
      })
      .backward(BODY {
        std::fill_n(c.g(1), c['k'], T(0));
        for (auto i : upto(c.numel())) {
          const bool above = c.x()[i] > 0;
          c.g(0)[i] = c.u()[i] * (above ? T(1) : c.x(1)[i % c['k']]);
          if (!above) c.g(1)[i % c['k']] += c.u()[i] * c.x()[i];
        }
      });

  op("prelu_channels", "x, or w[j] x below 0")
      .input("x", "n=4 k=3", {-2, 0.5})
      .input("w", "k", {0, 0.5})
      .output("y", "n k")
      .forward(BODY {
        for (auto i : upto(c.numel())) c.y()[i] = c.x()[i] > 0 ? c.x()[i] : c.x(1)[i % c['k']] * c.x()[i];
      })
      .backward(BODY {
        std::fill_n(c.g(1), c['k'], T(0));
        for (auto i : upto(c.numel())) {
          const bool above = c.x()[i] > 0;
          c.g(0)[i] = c.u()[i] * (above ? T(1) : c.x(1)[i % c['k']]);
          if (!above) c.g(1)[i % c['k']] = c.u()[i] * c.x()[i];
        }
      });

  binary(
      "smooth_l1", "(a - b)^2 / 2, or |a - b| - 1/2 beyond 1", {-2, 2}, {-2, 2},
      [](auto a, auto b) {
        const auto d = fabs(a - b);
        return d < 1 ? d * d / 2 : d - 0.5;
      },
      [](auto a, auto b) {
        using T = decltype(a);
        return min(max(a - b, T(-1)), T(1));
      },
      [](auto a, auto b) {
        using T = decltype(a);
        return -min(max(a - b, T(-1)), T(1));
      });

  binary(
      "smooth_l1_narrow", "(a - b)^2 / 0.002, or |a - b| - 0.0005 beyond 0.001", {-1, 1}, {-1, 1},
      [](auto a, auto b) {
        const auto d = fabs(a - b);
        return d < 0.001 ? d * d / 0.002 : d - 0.0005;
      },
      [](auto a, auto b) {
        using T = decltype(a);
        return min(max((a - b) / 0.001, T(-1)), T(1));
      },
      [](auto a, auto b) {
        using T = decltype(a);
        return -min(max((a - b) / 0.001, T(-1)), T(1));
      });

  op("huber", "d^2 / 2, or delta (|d| - delta / 2) beyond delta; the sum")
      .input("d", "n=16", {-3, 3})
      .output("y", "")
      .attribute("delta", 1, 1e-3, 1e3)
      .forward(BODY {
        *c.y() = 0;
        const T delta = c.a("delta");
        for (auto i : upto(c['n'])) {
          const T d = fabs(c.x()[i]);
          *c.y() += d < delta ? d * d / 2 : delta * (d - delta / 2);
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) c.g()[i] = *c.u() * min(max(c.x()[i], T(-1)), T(1));
      });

  op("huber_mean", "mean of d^2 / 2, or delta (|d| - delta / 2) beyond delta")
      .input("d", "n=16", {-3, 3})
      .output("y", "")
      .attribute("delta", 0.5, 1e-3, 1e3)
      .forward(BODY {
        *c.y() = 0;
        const T delta = c.a("delta");
        for (auto i : upto(c['n'])) {
          const T d = fabs(c.x()[i]);
          *c.y() += (d < delta ? d * d / 2 : delta * (d - delta / 2)) / c['n'];
        }
      })
      .backward(BODY {
        const T delta = c.a("delta");
        for (auto i : upto(c['n'])) c.g()[i] = *c.u() * min(max(c.x()[i], -delta), delta) / c['n'];
      });

  unary(
      "soft_shrink", "x moved by 0.5 towards 0, 0 in between", {},
      [](auto x) {
        using T = decltype(x);
        return x > 0.5 ? x - 0.5 : x < -0.5 ? x + 0.5 : T(0);
      },
      [](auto x) { return decltype(x)(fabs(x) > 0.5); });

  unary(
      "threshold_shrink", "x where |x| > 0.5, 0 in between", {},
      [](auto x) {
        using T = decltype(x);
        return fabs(x) > 0.5 ? x : T(0);
      },
      [](auto x) { return decltype(x)(x > 0.5); });

  unary(
      "tanh_steep", "tanh(1e6 x)", {-1e-4, 1e-4}, [](auto x) { return tanh(1e6 * x); },
      [](auto x) {
        const auto e = exp(-2e6 * fabs(x));
        return 4e6 * e / ((1 + e) * (1 + e));
      },
      "*s=8,8");

  unary(
      "tanh_step", "x + tanh(1e6 (x - 0.3))", {0.299999, 0.300001}, [](auto x) { return x + tanh(1e6 * (x - 0.3)); },
      [](auto x) {
        const auto t = tanh(1e6 * (x - 0.3));
        return 1 + 1e6 * (1 - t * t);
      });

  unary(
      "spikes", "x / 10 plus gaussians of width 1e-4 at every hundredth", {0, 1},
      [](auto x) {
        const auto d = (x - round(x * 100) / 100) * 1e4;
        return x / 10 + exp(-d * d);
      },
      [](auto x) {
        const auto d = (x - round(x * 100) / 100) * 1e4;
        return 0.1 - 2e4 * d * exp(-d * d);
      },
      "*s=8,16");

  unary(
      "gaussian_narrow", "exp(-(x - 1)^2 / 2e-14)", {1 - 3e-7, 1 + 3e-7},
      [](auto x) { return exp(-(x - 1) * (x - 1) / 2e-14); },
      [](auto x) { return -(x - 1) / 1e-14 * exp(-(x - 1) * (x - 1) / 2e-14); });

  unary(
      "ripple", "x + sin(1e7 x) / 1e7", {0, 1}, [](auto x) { return x + sin(1e7 * x) / 1e7; },
      [](auto x) { return 1 + cos(1e7 * x); });

  unary(
      "ripple_fast", "x + sin(1e5 x) / 1e5", {0, 1}, [](auto x) { return x + sin(1e5 * x) / 1e5; },
      [](auto x) { return x * 0 + 1; });

  unary(
      "corners_close", "|x| + |x - 1e-4| + |x + 1e-4|", {-1e-3, 1e-3},
      [](auto x) { return fabs(x) + fabs(x - 1e-4) + fabs(x + 1e-4); },
      [](auto x) { return sign(x) + sign(x - 1e-4) + sign(x + 1e-4); });

  unary(
      "sawtooth", "distance to the next multiple of 0.001", {0, 1}, [](auto x) { return fabs(x - round(x * 1000) / 1000); },
      [](auto x) { return sign(x - round(x * 1000) / 1000); });

  unary(
      "triangle_wave", "distance to the next multiple of 0.01", {0, 1}, [](auto x) { return fabs(x - round(x * 100) / 100); },
      [](auto x) { return sign(x - floor(x * 100) / 100); });

  op("hinge", "sum of max(0, 1 - label score), the label's sign counts")
      .input("score", "n=20", {-2, 2})
      .constant("label", "n")
      .output("y", "")
      .forward(BODY {
        *c.y() = 0;
        for (auto i : upto(c['n'])) *c.y() += max(T(0), 1 - sign(c.x(1)[i]) * c.x()[i]);
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) c.g()[i] = sign(c.x(1)[i]) * c.x()[i] < 1 ? -*c.u() * sign(c.x(1)[i]) : T(0);
      });

  op("squared_hinge", "sum of max(0, 1 - label score)^2, the label's sign counts")
      .input("score", "n=20", {-2, 2})
      .constant("label", "n")
      .output("y", "")
      .forward(BODY {
        *c.y() = 0;
        for (auto i : upto(c['n'])) {
          const T m = max(T(0), 1 - sign(c.x(1)[i]) * c.x()[i]);
          *c.y() += m * m;
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) c.g()[i] = -2 * *c.u() * max(T(0), 1 - sign(c.x(1)[i]) * c.x()[i]);
      });

  op("quantile_loss", "sum of q d above 0, (q - 1) d below, d = target - x")
      .input("x", "n=12")
      .input("target", "n")
      .output("y", "")
      .attribute("q", 0.9, 0, 1)
      .forward(BODY {
        *c.y() = 0;
        for (auto i : upto(c['n'])) {
          const T d = c.x(1)[i] - c.x(0)[i];
          *c.y() += max(c.a("q") * d, (c.a("q") - 1) * d);
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          c.g(1)[i] = *c.u() * (c.x(1)[i] > c.x(0)[i] ? c.a("q") : c.a("q") - 1);
          c.g(0)[i] = -c.g(1)[i];
        }
      });
}

}  // namespace
}  // namespace trial
