// Element by element: offsets, domain edges, poles, forms that avoid cancellation.
#include "op.h"
namespace trial {
namespace {

template <class T> T normal_cdf(T x) { return erfc(-x / sqrt(T(2))) / 2; }
template <class T> T normal_pdf(T x) { return exp(-x * x / 2) / sqrt(2 * T(pi)); }
template <class T> T digamma(T x) {
  T sum = 0;
  for (; x < 20; x += 1) sum -= 1 / x;
  const T s = 1 / (x * x);
  return sum + log(x) - 1 / (2 * x) -
         s * (T(1) / 12 - s * (T(1) / 120 - s * (T(1) / 252 - s * (T(1) / 240 - s * (T(1) / 132 - s * T(691) / 32760)))));
}

OPS {
  unary(
      "log_celsius", "log(t - 273.15), t in kelvin", {274, 300}, [](auto t) { return log(t - 273.15); },
      [](auto t) { return 1 / (t - 273.15); });

  unary(
      "log_kelvin_of_fahrenheit", "log of the absolute temperature", {30, 200},
      [](auto f) { return log((f - 32) / 1.8 + 273.15); }, [](auto f) { return 1 / ((f - 32) / 1.8 + 273.15); });

  unary(
      "logit_rare", "log(p / (1 - p)) of small probabilities", {1e-9, 1e-6}, [](auto p) { return log(p / (1 - p)); },
      [](auto p) { return 1 / (p * (1 - p)); });

  unary(
      "logit_common", "log(p / (1 - p)) of probabilities near 1", {0.999999, 0.99999999},
      [](auto p) { return log(p) - log1p(-p); }, [](auto p) { return 1 / (p * (1 - p)); });

  unary(
      "log10_odds", "log10(p / (1 - p))", {0.01, 0.99}, [](auto p) { return log10(p / (1 - p)); },
      [](auto p) { return 1 / (p * (1 - p)); });

  unary(
      "sqrt1pm1", "sqrt(1 + x) - 1 without cancellation", {-0.5, 0.5}, [](auto x) { return x / (1 + sqrt(1 + x)); },
      [](auto x) { return 0.5f / std::sqrt(1.0f + static_cast<float>(x)); });

  unary(
      "sqrt_tiny", "sqrt close to 0", {1e-14, 1e-10}, [](auto x) { return sqrt(x); }, [](auto x) { return 1 / (2 * sqrt(x)); });

  unary(
      "asin_edge", "asin close to 1", {0.9, 0.99999}, [](auto x) { return asin(x); },
      [](auto x) { return 1 / sqrt(1 - x * x + 1e-8); });

  unary(
      "acos_edge", "acos close to 1", {0.999, 0.9999999}, [](auto x) { return acos(x); },
      [](auto x) { return -1 / sqrt((1 - x) * (1 + x)); });

  unary(
      "pole", "1 / (1 - x) close to its pole", {0.99, 0.9999999}, [](auto x) { return 1 / (1 - x); },
      [](auto x) { return 1 / ((1 - x) * (1 - x)); });

  unary(
      "inverse_square", "1 / (x - 1e6)^2", {1000001, 1000002}, [](auto x) { return 1 / ((x - 1e6) * (x - 1e6)); },
      [](auto x) { return -2 / ((x - 1e6) * (x - 1e6)); });

  unary(
      "expm1_ratio", "expm1(x) / x close to 0", {-1e-5, 1e-5}, [](auto x) { return expm1(x) / x; },
      [](auto x) { return 0.5 + x * (1 / 3.0 + x * (0.125 + x / 30)); });

  unary(
      "expm1_quotient", "expm1(x) / x for tiny x", {1e-12, 1e-11}, [](auto x) { return expm1(x) / x; },
      [](auto x) { return (x * exp(x) - expm1(x)) / (x * x); });

  unary(
      "log1p_ratio", "log1p(x) / x close to 0", {-1e-4, 1e-4}, [](auto x) { return log1p(x) / x; },
      [](auto x) { return -0.5 + x * (2 / 3.0 - x * (0.75 - x * (0.8 - x * (5 / 6.0 - x * 6 / 7)))); });

  unary(
      "sinc", "sin(x) / x close to 0", {-1e-3, 1e-3}, [](auto x) { return sin(x) / x; },
      [](auto x) { return -x / 3 + x * x * x / 30 - x * x * x * x * x / 840; });

  unary(
      "fisher_z", "atanh(r) of correlations near 1", {0.99999, 0.99999999}, [](auto r) { return atanh(r); },
      [](auto r) { return 1 / ((1 - r) * (1 + r)); });

  unary("x_log_x", "x log(x) close to 0", {1e-12, 1e-9}, [](auto x) { return x * log(x); }, [](auto x) { return log(x) + 1; });

  unary("log_gamma", "lgamma(x)", {0.01, 6}, [](auto x) { return lgamma(x); }, [](auto x) { return digamma(x); });

  unary(
      "kinetic", "sqrt(1 + p^2) - 1 for small p", {-1e-4, 1e-4}, [](auto p) { return p * p / (1 + sqrt(1 + p * p)); },
      [](auto p) { return p / sqrt(1 + p * p); });

  unary(
      "gelu", "x Phi(x)", {-3, 3}, [](auto x) { return x * normal_cdf(x); },
      [](auto x) {
        const auto t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * x * x);
      });

  unary(
      "gelu_tanh", "0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))", {-3, 3},
      [](auto x) { return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))); },
      [](auto x) {
        const auto t = tanh(0.797885 * (x + 0.044715 * x * x * x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.797885 * (1 + 0.134145 * x * x);
      });

  unary(
      "gelu_erf", "x Phi(x), far into both tails", {-8, 8}, [](auto x) { return x * normal_cdf(x); },
      [](auto x) { return normal_cdf(x) + x * normal_pdf(x); });

  unary(
      "signed_sqrt", "sign(x) sqrt(|x|)", {-2, 1, {0}}, [](auto x) { return sign(x) * sqrt(fabs(x)); },
      [](auto x) { return sign(x) / (2 * sqrt(fabs(x))); });

  unary(
      "cube_root", "cbrt(x)", {-2, 2, {0}}, [](auto x) { return cbrt(x); },
      [](auto x) {
        using T = decltype(x);
        return pow(x, T(-2.0 / 3)) / 3;
      },
      "*s=4,5");

  unary(
      "tan_degrees", "tan of an angle in degrees", {-60, 60}, [](auto x) { return tan(x * pi / 180); },
      [](auto x) { return 1 + tan(x * pi / 180) * tan(x * pi / 180); });

  unary(
      "mish", "x tanh(softplus(x))", {}, [](auto x) { return x * tanh(softplus(x)); },
      [](auto x) {
        const auto t = tanh(softplus(x));
        return t + x * (1 - t * t);
      });

  binary(
      "x_log_y", "x log(y)", {0.1, 2}, {0.1, 2}, [](auto x, auto y) { return x * log(y); },
      [](auto, auto y) { return log(y) + 1; }, [](auto x, auto y) { return x / y; });

  binary(
      "small_root", "the smaller root of x^2 - b x + c", {1e3, 1e5}, {1, 2},
      [](auto b, auto c) { return 2 * c / (b + sqrt(b * b - 4 * c)); },
      [](auto b, auto c) {
        const auto s = sqrt(b * b - 4 * c);
        return -2 * c / (s * (b + s));
      },
      [](auto b, auto c) { return 1 / sqrt(b * b - 4 * c); });

  op("haversine", "distance of two points given in degrees, some 100 m apart, on a sphere of radius 6371 km")
      .input("from", "n=4 2", {48, 48.001})
      .input("to", "n 2", {48, 48.001})
      .output("km", "n")
      .forward(BODY {
        const T degree = T(pi) / 180;
        for (auto i : upto(c['n'])) {
          const T *p = c.x(0) + 2 * i, *q = c.x(1) + 2 * i;
          const T s = sin((q[0] - p[0]) * degree / 2), t = sin((q[1] - p[1]) * degree / 2);
          c.y()[i] = 12742 * asin(sqrt(s * s + cos(p[0] * degree) * cos(q[0] * degree) * t * t));
        }
      })
      .backward(BODY {
        const T degree = T(pi) / 180;
        for (auto i : upto(c['n'])) {
          const T *p = c.x(0) + 2 * i, *q = c.x(1) + 2 * i;
          const T a = (q[0] - p[0]) * degree / 2, b = (q[1] - p[1]) * degree / 2, cp = cos(p[0] * degree),
                  cq = cos(q[0] * degree);
          const T h = sin(a) * sin(a) + cp * cq * sin(b) * sin(b),
                  outer = c.u()[i] * 12742 / (2 * sqrt(h) * sqrt(1 - h)) * degree;
          const T by_a = sin(a) * cos(a), by_b = cp * cq * sin(b) * cos(b), s2 = sin(b) * sin(b);
          c.g(0)[2 * i] = outer * (-by_a - sin(p[0] * degree) * cq * s2);
          c.g(1)[2 * i] = outer * (by_a - cp * sin(q[0] * degree) * s2);
          c.g(0)[2 * i + 1] = -outer * by_b;
          c.g(1)[2 * i + 1] = outer * by_b;
        }
      });

  op("log_base", "log(x) in a given base")
      .input("x", "*s=3,4", {0.1, 5})
      .output("y", "*s")
      .attribute("base", 2, 1.01, 100)
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = log(c.x()[i]) / log(T(c.a("base")));
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g()[i] = c.u()[i] / (c.x()[i] * log(T(2)));
      });
}

}  // namespace
}  // namespace trial
