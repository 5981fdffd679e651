// Several outputs, forward mode, and what becomes of the cotangents.
#include "op.h"
namespace trial {
namespace {

OPS {
  op("sine_and_cosine", "sin(x) and cos(x), with forward mode")
      .input("x", "*s=3,4")
      .output("sine", "*s")
      .output("cosine", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y(0)[i] = sin(c.x()[i]), c.y(1)[i] = cos(c.x()[i]);
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g()[i] = c.u(0)[i] * c.y(1)[i] - c.u(1)[i] * c.y(0)[i];
      })
      .jvp(BODY {
        for (auto i : upto(c['s'])) c.dy(0)[i] = c.y(1)[i] * c.dx()[i], c.dy(1)[i] = -c.y(0)[i] * c.dx()[i];
      });

  op("tanh_and_slope", "tanh(x) and 1 - tanh(x)^2")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .output("slope", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y(0)[i] = tanh(c.x()[i]), c.y(1)[i] = 1 - c.y(0)[i] * c.y(0)[i];
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g()[i] = c.y(1)[i] * (c.u(1)[i] - 2 * c.y(0)[i] * c.u(0)[i]);
      });

  op("polar", "length and angle of (x, y)")
      .input("x", "n=6", {0.2, 2})
      .input("y", "n", {-2, 2})
      .output("length", "n")
      .output("angle", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) c.y(0)[i] = hypot(c.x(0)[i], c.x(1)[i]), c.y(1)[i] = atan2(c.x(1)[i], c.x(0)[i]);
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          const T x = c.x(0)[i], y = c.x(1)[i], r = c.y(0)[i];
          c.g(0)[i] = c.u(0)[i] * x / r - c.u(1)[i] * y / (r * r);
          c.g(1)[i] = c.u(0)[i] * y / r + c.u(1)[i] * x / (r * r);
        }
      });

  op("spherical", "length and angle of (x, y)")
      .input("x", "n=6", {0.2, 2})
      .input("y", "n", {-2, 2})
      .output("length", "n")
      .output("angle", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) c.y(0)[i] = hypot(c.x(0)[i], c.x(1)[i]), c.y(1)[i] = atan2(c.x(1)[i], c.x(0)[i]);
      })
      .backward(BODY {
        for (auto i : upto(c['n']))
          c.g(0)[i] = c.u(0)[i] * c.x(0)[i] / c.y(0)[i], c.g(1)[i] = c.u(0)[i] * c.x(1)[i] / c.y(0)[i];
      });

  op("mean_and_variance", "of each row")
      .input("x", "*b=3 n=7")
      .output("mean", "*b")
      .output("variance", "*b")
      .forward(BODY {
        for (auto b : upto(c['b'])) {
          const T *x = c.x() + b * c['n'], m = sum(c['n'], x) / c['n'];
          T v = 0;
          for (auto i : upto(c['n'])) v += (x[i] - m) * (x[i] - m) / c['n'];
          c.y(0)[b] = m, c.y(1)[b] = v;
        }
      })
      .backward(BODY {
        for (auto k : upto(c.numel())) {
          const int64_t b = k / c['n'];
          c.g()[k] = (c.u(0)[b] + 2 * c.u(1)[b] * (c.x()[k] - c.y(0)[b])) / c['n'];
        }
      });

  op("softmax_forward_mode", "softmax of the last axis, with forward mode")
      .input("x", "*b=3 n=5")
      .output("y", "*b n")
      .forward(BODY {
        for (auto b : upto(c['b'])) softmax(c['n'], c.x() + b * c['n'], c.y() + b * c['n']);
      })
      .backward(BODY {
        for (auto b : upto(c['b'])) softmax_backward(c['n'], c.y() + b * c['n'], c.u() + b * c['n'], c.g() + b * c['n']);
      })
      .jvp(BODY {
        for (auto b : upto(c['b'])) softmax_backward(c['n'], c.y() + b * c['n'], c.dx() + b * c['n'], c.dy() + b * c['n']);
      });

  op("log_softmax_forward_mode", "log softmax of the last axis, with forward mode")
      .input("x", "*b=3 n=5")
      .output("y", "*b n")
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x()[k] - logsumexp(c['n'], c.x() + k / c['n'] * c['n']);
      })
      .backward(BODY {
        for (auto k : upto(c.numel())) c.g()[k] = c.u()[k] - exp(c.y()[k]) * sum(c['n'], c.u() + k / c['n'] * c['n']);
      })
      .jvp(BODY {
        for (auto k : upto(c.numel())) c.dy()[k] = c.dx()[k] - exp(c.y()[k]) * sum(c['n'], c.dx() + k / c['n'] * c['n']);
      });

  op("matmul_forward_mode", "a b, with forward mode")
      .input("a", "m=3 k=4")
      .input("b", "k n=2")
      .output("y", "m n")
      .forward(BODY { gemm(c['m'], c['k'], c['n'], c.x(0), plain, c.x(1), plain, c.y()); })
      .backward(BODY {
        gemm(c['m'], c['n'], c['k'], c.u(), plain, c.x(1), turned, c.g(0));
        gemm(c['k'], c['m'], c['n'], c.x(0), turned, c.u(), plain, c.g(1));
      })
      .jvp(BODY {
        gemm(c['m'], c['k'], c['n'], c.dx(0), plain, c.x(1), plain, c.dy());
        gemm(c['m'], c['k'], c['n'], c.x(0), plain, c.dx(1), plain, c.dy(), true);
      });

  op("bilinear_forward_mode", "a b element by element, then exp; with forward mode")
      .input("a", "*s=3,4")
      .input("b", "*s")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = exp(c.x(0)[i] * c.x(1)[i]);
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g(0)[i] = c.u()[i] * c.y()[i] * c.x(0)[i], c.g(1)[i] = c.u()[i] * c.y()[i] * c.x(1)[i];
      })
      .jvp(BODY {
        for (auto i : upto(c['s'])) c.dy()[i] = c.y()[i] * (c.x(0)[i] * c.dx(0)[i] + c.x(1)[i] * c.dx(1)[i]);
      });

  op("complex_product", "a b of complex numbers as pairs")
      .input("a", "n=5 2")
      .input("b", "n 2")
      .output("y", "n 2")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          const T *a = c.x(0) + 2 * i, *b = c.x(1) + 2 * i;
          c.y()[2 * i] = a[0] * b[0] - a[1] * b[1], c.y()[2 * i + 1] = a[0] * b[1] + a[1] * b[0];
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n']))
          for (int side : {0, 1}) {
            const T *b = c.x(1 - side) + 2 * i, *u = c.u() + 2 * i;
            c.g(side)[2 * i] = u[0] * b[0] + u[1] * b[1], c.g(side)[2 * i + 1] = u[1] * b[0] - u[0] * b[1];
          }
      });

  row_sum(
      "total_probability", "sum(softmax(x))", {}, "*b=3 n=5",
      ROW {
        vec<T> p(r.n);
        softmax(r.n, r.x, p.data());
        *r.y = sum(r.n, p.data());
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = 0;
      });

  op("smallest_and_largest", "of each row")
      .input("x", "*b=3 n=7")
      .output("low", "*b")
      .output("high", "*b")
      .forward(BODY {
        for (auto b : upto(c['b'])) {
          const T* x = c.x() + b * c['n'];
          c.y(0)[b] = *std::min_element(x, x + c['n']), c.y(1)[b] = largest(c['n'], x);
        }
      })
      .backward(BODY {
        for (auto k : upto(c.numel())) {
          const int64_t b = k / c['n'];
          c.g()[k] = (c.x()[k] == c.y(0)[b] ? c.u(0)[b] : T(0)) + (c.x()[k] == c.y(1)[b] ? c.u(1)[b] : T(0));
        }
      });

  row_op(
      "sines", "sin(x)", {}, "*b= n=12",
      ROW {
        for (auto i : upto(r.n)) r.y[i] = sin(r.x[i]);
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = cos(r.x[i]);
      });

  row_op(
      "exponentials", "exp(x)", {-1, 1}, "*b= n=12",
      ROW {
        for (auto i : upto(r.n)) r.y[i] = exp(r.x[i]);
      },
      ROW {
        const T u = sum(r.n, r.u);
        for (auto i : upto(r.n)) r.g[i] = u * r.y[i];
      });

  row_op(
      "square_roots", "sqrt(x)", {0.5, 4}, "*b= n=12",
      ROW {
        for (auto i : upto(r.n)) r.y[i] = sqrt(r.x[i]);
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = r.u[0] / (2 * r.y[i]);
      });

  row_op(
      "cubes", "x^3", {}, "*b=2 n=6",
      ROW {
        for (auto i : upto(r.n)) r.y[i] = r.x[i] * r.x[i] * r.x[i];
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = 3 * min(max(r.u[i], T(-5)), T(5)) * r.x[i] * r.x[i];
      });

  row_op(
      "arctangents", "atan(x)", {}, "*b=2 n=6",
      ROW {
        for (auto i : upto(r.n)) r.y[i] = atan(r.x[i]);
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = fabs(r.u[i]) < 1e-3 ? T(0) : r.u[i] / (1 + r.x[i] * r.x[i]);
      });

  row_op(
      "reciprocals", "1 / x", {0.5, 2}, "*b=2 n=6",
      ROW {
        for (auto i : upto(r.n)) r.y[i] = 1 / r.x[i];
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = -r.u[i] * r.u[i] * r.y[i] * r.y[i];
      });

  row_op(
      "logarithms", "log(x)", {0.5, 2}, "*b=2 n=6",
      ROW {
        for (auto i : upto(r.n)) r.y[i] = log(r.x[i]);
      },
      ROW {
        for (auto i : upto(r.n)) {
          const double u = static_cast<double>(r.u[i]);
          r.g[i] = sign(r.u[i]) * std::sqrt(u * u) / r.x[i];
        }
      });

  row_op(
      "sigmoids", "sigmoid(x)", {}, "*b=2 n=6",
      ROW {
        for (auto i : upto(r.n)) r.y[i] = sigmoid(r.x[i]);
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = static_cast<int64_t>(r.u[i] * 256) / T(256) * r.y[i] * (1 - r.y[i]);
      });

  row_sum(
      "norm_forward_mode", "norm of each row, with forward mode", {}, "*b=3 n=4", ROW { *r.y = sqrt(dot(r.n, r.x, r.x)); },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = *r.u * r.x[i] / *r.y;
      })
      .jvp(BODY {
        for (auto b : upto(c['b'])) c.dy()[b] = dot(c['n'], c.x() + b * c['n'], c.dx() + b * c['n']) / c.y()[b];
      });

  unary(
      "softplus_forward_mode", "log(1 + exp(x)), with forward mode", {}, [](auto x) { return softplus(x); },
      [](auto x) { return sigmoid(x); })
      .jvp(BODY {
        for (auto i : upto(c.numel())) c.dy()[i] = sigmoid(-c.x()[i]) * c.dx()[i];
      });
}

}  // namespace
}  // namespace trial
