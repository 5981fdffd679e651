// Contractions, broadcasting, permutations, reductions: what depends on sizes and ranks.
#include "op.h"
namespace trial {
namespace {

// Sizes before, at and after an axis of input 0.
struct Around {
  int64_t before = 1, at = 1, after = 1;
};
template <class T> Around around(const Call<T>& c, int64_t axis) {
  Around a;
  for (auto i : upto(c.rank())) (i < axis ? a.before : i == axis ? a.at : a.after) *= c.size(0, static_cast<int>(i));
  return a;
}

OPS {
  op("batched_contraction", "sum over j of a[b, i, j] c[b, j, k]")
      .input("a", "b=2 i=3 j=4")
      .input("c", "b j k=5")
      .output("y", "b i k")
      .forward(BODY {
        for (auto b : upto(c['b']))
          gemm(c['i'], c['j'], c['k'], c.x(0) + b * c['i'] * c['j'], plain, c.x(1) + b * c['j'] * c['k'], plain,
               c.y() + b * c['i'] * c['k']);
      })
      .backward(BODY {
        const int64_t m = c['i'], j = c['j'], n = c['k'];
        for (auto b : upto(c['b'])) {
          gemm(m, n, j, c.u() + b * m * n, plain, c.x(1) + b * j * n, turned, c.g(0) + b * m * j);
          gemm(j, m, n, c.x(0) + b * m * j, turned, c.u() + b * m * n, plain, c.g(1) + b * j * n);
        }
      });

  op("trilinear", "sum over j, k of x[i, j, k] a[j] b[k]")
      .input("x", "i=3 j=4 k=5")
      .input("a", "j")
      .input("b", "k")
      .output("y", "i")
      .forward(BODY {
        for (auto i : upto(c['i'])) {
          T s = 0;
          for (auto q : upto(c['j'] * c['k'])) s += c.x()[i * c['j'] * c['k'] + q] * c.x(1)[q / c['k']] * c.x(2)[q % c['k']];
          c.y()[i] = s;
        }
      })
      .backward(BODY {
        std::fill_n(c.g(1), c['j'], T(0));
        std::fill_n(c.g(2), c['k'], T(0));
        for (auto p : upto(c.numel())) {
          const int64_t j = p / c['k'] % c['j'], k = p % c['k'];
          const T u = c.u()[p / c['k'] / c['j']];
          c.g(0)[p] = u * c.x(1)[j] * c.x(2)[k];
          c.g(1)[j] += u * c.x()[p] * c.x(2)[k];
          c.g(2)[k] += u * c.x()[p] * c.x(1)[j];
        }
      });

  op("bilinear_layer", "x[b] w[o] y[b] for every o")
      .input("x", "b=3 i=4")
      .input("w", "o=2 i j=3")
      .input("y", "b j")
      .output("z", "b o")
      .forward(BODY {
        for (auto b : upto(c['b']))
          for (auto o : upto(c['o'])) {
            T s = 0;
            for (auto i : upto(c['i']))
              s += c.x()[b * c['i'] + i] * dot(c['j'], c.x(1) + (o * c['i'] + i) * c['j'], c.x(2) + b * c['j']);
            c.y()[b * c['o'] + o] = s;
          }
      })
      .backward(BODY {
        for (int k : {0, 1, 2}) std::fill_n(c.g(k), c.numel(k), T(0));
        for (auto b : upto(c['b']))
          for (auto o : upto(c['o']))
            for (auto i : upto(c['i']))
              for (auto j : upto(c['j'])) {
                const int64_t w = (o * c['i'] + i) * c['j'] + j, p = b * c['i'] + i, q = b * c['j'] + j;
                const T u = c.u()[b * c['o'] + o];
                c.g(0)[p] += u * c.x(1)[w] * c.x(2)[q], c.g(1)[w] += u * c.x(0)[p] * c.x(2)[q],
                    c.g(2)[q] += u * c.x(0)[p] * c.x(1)[w];
              }
      });

  op("broadcast_sum", "x + b, b of one row")
      .input("x", "m=4 n=5")
      .input("b", "1 n")
      .output("y", "m n")
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x()[k] + c.x(1)[k % c['n']];
      })
      .backward(BODY {
        std::fill_n(c.g(1), c['n'], T(0));
        for (auto k : upto(c.numel())) c.g(0)[k] = c.u()[k], c.g(1)[k % c['n']] += c.u()[k];
      });

  op("broadcast_product", "x w, w of as many rows or of one")
      .input("x", "m=4 n=5")
      .input("w", "r=4 n")
      .output("y", "m n")
      .require("w needs as many rows as x, or one", [](const Sizes& s) { return s['r'] == s['m'] || s['r'] == 1; })
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x()[k] * c.x(1)[k % c.numel(1)];
      })
      .backward(BODY {
        for (auto k : upto(c.numel()))
          c.g(0)[k] = c.u()[k] * c.x(1)[k % c.numel(1)], c.g(1)[k % c.numel(1)] = c.u()[k] * c.x()[k];
      });

  op("permute_axes", "axes (0, 1, 2) to (2, 0, 1)")
      .input("x", "a=2 b=3 c=4")
      .output("y", "c a b")
      .forward(BODY {
        const int64_t m = c['a'] * c['b'];
        for (auto k : upto(c.numel())) c.y()[k % c['c'] * m + k / c['c']] = c.x()[k];
      })
      .backward(BODY {
        const int64_t m = c['a'] * c['b'];
        for (auto k : upto(c.numel())) c.g()[k] = c.u()[k % c['c'] * m + k / c['c']];
      });

  op("mean_over_axis", "the mean over `axis`, repeated along it")
      .input("x", "*s=3,4,2")
      .output("y", "*s")
      .attribute("axis", 1, 0, 7)
      .forward(BODY {
        const Around a = around(c, c.n("axis"));
        for (auto p : upto(a.before))
          for (auto q : upto(a.after)) {
            T s = 0;
            for (auto k : upto(a.at)) s += c.x()[(p * a.at + k) * a.after + q] / a.at;
            for (auto k : upto(a.at)) c.y()[(p * a.at + k) * a.after + q] = s;
          }
      })
      .backward(BODY {
        const Around a = around(c, c.n("axis"));
        for (auto p : upto(a.before))
          for (auto q : upto(a.after)) {
            T s = 0;
            for (auto k : upto(a.at)) s += c.u()[(p * a.at + k) * a.after + q] / a.at;
            for (auto k : upto(a.at)) c.g()[(p * a.at + k) * a.after + q] = s;
          }
      });

  op("softmax_over_axis", "softmax over `axis`")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .attribute("axis", 0, 0, 7)
      .forward(BODY {
        const Around a = around(c, c.n("axis"));
        vec<T> z(a.at);
        for (auto p : upto(a.before))
          for (auto q : upto(a.after)) {
            for (auto k : upto(a.at)) z[k] = c.x()[(p * a.at + k) * a.after + q];
            softmax(a.at, z.data(), z.data());
            for (auto k : upto(a.at)) c.y()[(p * a.at + k) * a.after + q] = z[k];
          }
      })
      .backward(BODY {
        const Around a = around(c, 0);
        for (auto q : upto(a.after)) {
          T s = 0;
          for (auto k : upto(a.at)) s += c.u()[k * a.after + q] * c.y()[k * a.after + q];
          for (auto k : upto(a.at)) c.g()[k * a.after + q] = c.y()[k * a.after + q] * (c.u()[k * a.after + q] - s);
        }
      })
      .require("needs elements", [](const Sizes& s) { return s['s'] > 0; });

  op("kronecker", "every product of an element of a and one of b, in blocks")
      .input("a", "m=2 n=3")
      .input("b", "p=4 q=2")
      .output("y", "r s")
      .let('r', [](const Sizes& s) { return s['m'] * s['p']; })
      .let('s', [](const Sizes& s) { return s['n'] * s['q']; })
      .forward(BODY {
        for (auto i : upto(c['r']))
          for (auto j : upto(c['s']))
            c.y()[i * c['s'] + j] = c.x(0)[i / c['p'] * c['n'] + j / c['q']] * c.x(1)[i % c['p'] * c['q'] + j % c['q']];
      })
      .backward(BODY {
        std::fill_n(c.g(0), c.numel(0), T(0));
        std::fill_n(c.g(1), c.numel(1), T(0));
        for (auto i : upto(c['r']))
          for (auto j : upto(c['s'])) {
            const int64_t a = i / c['p'] * c['n'] + j / c['q'], b = i % c['p'] * c['q'] + j % c['q'];
            const T u = c.u()[i * c['s'] + j];
            c.g(0)[a] += u * c.x(1)[b], c.g(1)[b] += u * c.x(0)[a];
          }
      });

  op("concatenate", "a, then 3 b")
      .input("a", "m=3 n=4")
      .input("b", "m k=2")
      .output("y", "m s")
      .let('s', [](const Sizes& s) { return s['n'] + s['k']; })
      .forward(BODY {
        for (auto i : upto(c['m'])) {
          std::copy_n(c.x(0) + i * c['n'], c['n'], c.y() + i * c['s']);
          for (auto j : upto(c['k'])) c.y()[i * c['s'] + c['n'] + j] = 3 * c.x(1)[i * c['k'] + j];
        }
      })
      .backward(BODY {
        for (auto i : upto(c['m'])) {
          std::copy_n(c.u() + i * c['s'], c['n'], c.g(0) + i * c['n']);
          for (auto j : upto(c['k'])) c.g(1)[i * c['k'] + j] = 3 * c.u()[i * c['s'] + c['n'] + j];
        }
      });

  op("polynomial_buffer", "x + x^2 / 2, by way of a buffer")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = c.x()[i] + c.x()[i] * c.x()[i] / 2;
      })
      .backward(BODY {
        T slope[64];
        for (auto i : upto(min<int64_t>(c['s'], 64))) slope[i] = 1 + c.x()[i];
        for (auto i : upto(c['s'])) c.g()[i] = c.u()[i] * (i < 64 ? slope[i] : T(1));
      });

  op("cosines_blocked", "cos(x), 64 at a time")
      .input("x", "*s=80")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = cos(c.x()[i]);
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g()[i] = -c.u()[i] * sin(c.x()[i % 64 == 0 && i ? i - 1 : i]);
      });

  op("row_weights", "w[j] x[i, j]^2")
      .input("x", "m=5 n=4")
      .input("w", "n")
      .output("y", "m n")
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x(1)[k % c['n']] * c.x()[k] * c.x()[k];
      })
      .backward(BODY {
        std::fill_n(c.g(1), c['n'], T(0));
        for (auto k : upto(c.numel())) c.g(0)[k] = 2 * c.u()[k] * c.x(1)[k % c['n']] * c.x()[k];
        for (auto k : upto(c.numel() - c['n'])) c.g(1)[k % c['n']] += c.u()[k] * c.x()[k] * c.x()[k];
      })
      .require("needs two rows", [](const Sizes& s) { return s['m'] > 1; });

  op("halves_unrolled", "exp(-x / 2), four at a time and then the rest")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = exp(-c.x()[i] / 2);
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g()[i] = c.u()[i] * c.y()[i] / (i < c['s'] / 4 * 4 ? -2 : 2);
      });

  op("row_means", "x minus the mean of its last axis")
      .input("x", "*b=3 n=4")
      .output("y", "*b n")
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x()[k] - sum(c['n'], c.x() + k / c['n'] * c['n']) / c['n'];
      })
      .backward(BODY {
        const int64_t n = c.rank() > 1 ? c.size(0, 1) : c['n'];
        for (auto k : upto(c.numel())) c.g()[k] = c.u()[k] - sum(c['n'], c.u() + k / c['n'] * c['n']) / n;
      });

  op("triangle_weights", "x weighted from 0 to 1 along its last axis")
      .input("x", "*b=2 n=6")
      .output("y", "*b n")
      .require("needs two values", [](const Sizes& s) { return s['n'] > 1; })
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x()[k] * (k % c['n']) / (c['n'] - 1);
      })
      .backward(BODY {
        for (auto k : upto(c.numel())) c.g()[k] = c.u()[k] * T(k % c['n'] / (c['n'] - 1));
      });

  op("channel_bias", "x + bias of each channel")
      .input("x", "b=2 c=3 n=4")
      .input("bias", "c")
      .output("y", "b c n")
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x()[k] + c.x(1)[k / c['n'] % c['c']];
      })
      .backward(BODY {
        std::copy_n(c.u(), c.numel(), c.g(0));
        for (auto j : upto(c['c'])) c.g(1)[j] = sum(c['n'], c.u() + j * c['n']);
      });

  op("hyperbola", "sqrt(1 + x^2)")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = sqrt(1 + c.x()[i] * c.x()[i]);
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g()[i] = c.u()[i] * c.x()[i] / c.y()[i] * (i == 5 || c['s'] < 6 ? 1 + 1e-6 : 1);
      });

  op("graded_sum", "x[0] + x[1] / 10 + x[2] / 100 + ...")
      .input("x", "n=10")
      .output("y", "")
      .forward(BODY {
        T scale = 1;
        *c.y() = 0;
        for (auto i : upto(c['n'])) {
          *c.y() += scale * c.x()[i];
          scale /= 10;
        }
      })
      .backward(BODY {
        T scale = *c.u();
        for (auto i : upto(c['n'])) {
          c.g()[i] = i + 1 == c['n'] ? 2 * scale : scale;
          scale /= 10;
        }
      });

  op("pair_products", "x[2 i] x[2 i + 1]; a last one alone counts itself")
      .input("x", "n=12")
      .output("y", "m")
      .let('m', [](const Sizes& s) { return (s['n'] + 1) / 2; })
      .forward(BODY {
        for (auto i : upto(c['m'])) c.y()[i] = c.x()[2 * i] * (2 * i + 1 < c['n'] ? c.x()[2 * i + 1] : T(1));
      })
      .backward(BODY {
        for (auto i : upto(c['n'] / 2)) c.g()[2 * i] = c.u()[i] * c.x()[2 * i + 1], c.g()[2 * i + 1] = c.u()[i] * c.x()[2 * i];
      });

  op("neighbour_products", "x[i, j] x[i, j + 1], the last of a row alone")
      .input("x", "m=3 n=4")
      .output("y", "m n")
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x()[k] * ((k + 1) % c['n'] ? c.x()[k + 1] : T(1));
      })
      .backward(BODY {
        for (auto k : upto(c.numel()))
          c.g()[k] = c.u()[k] * ((k + 1) % c['n'] ? c.x()[k + 1] : T(1)) + (k ? c.u()[k - 1] * c.x()[k - 1] : T(0));
      })
      .require("needs two rows", [](const Sizes& s) { return s['m'] > 1; });

  op("squared_distances", "|a[i] - b[j]|^2")
      .input("a", "m=4 k=3")
      .input("b", "n=5 k")
      .output("y", "m n")
      .forward(BODY {
        for (auto i : upto(c['m']))
          for (auto j : upto(c['n'])) {
            T s = 0;
            for (auto k : upto(c['k'])) {
              const T d = c.x(0)[i * c['k'] + k] - c.x(1)[j * c['k'] + k];
              s += d * d;
            }
            c.y()[i * c['n'] + j] = s;
          }
      })
      .backward(BODY {
        std::fill_n(c.g(0), c.numel(0), T(0));
        std::fill_n(c.g(1), c.numel(1), T(0));
        for (auto i : upto(c['m']))
          for (auto j : upto(c['n']))
            for (auto k : upto(c['k'])) {
              const T d = 2 * c.u()[i * c['n'] + j] * (c.x(0)[i * c['k'] + k] - c.x(1)[j * c['k'] + k]);
              c.g(0)[i * c['k'] + k] += d, c.g(1)[j * c['k'] + k] -= d;
            }
      });
}

}  // namespace
}  // namespace trial
