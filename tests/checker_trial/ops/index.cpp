// Integers in and out: gathering, scattering, targets, segments, masks, sparse matrices. Indices count modulo the size.
#include "op.h"
namespace trial {
namespace {

// A cheap hash of a position and a seed, uniform in [0, 1).
double noise(int64_t i, int64_t seed) {
  uint64_t z = static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u + static_cast<uint64_t>(seed) * 0xbf58476d1ce4e5b9u + 1;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return static_cast<double>((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}
template <class T> void drop(const Call<T>& c, const T* from, T* to, int64_t seed, bool scaled) {
  for (auto i : upto(c['s'])) to[i] = noise(i, seed) < c.a("p") ? T(0) : from[i] / (scaled ? 1 - c.a("p") : 1);
}
template <class T> void cross_entropy(const Call<T>& c) {
  *c.y() = 0;
  for (auto b : upto(c['b'])) {
    const T* x = c.x() + b * c['n'];
    *c.y() += (logsumexp(c['n'], x) - x[wrap(c.index(1)[b], c['n'])]) / c['b'];
  }
}
template <class T> void cross_entropy_backward(const Call<T>& c, int64_t shift, bool mean) {
  for (auto b : upto(c['b'])) {
    T* g = c.g() + b * c['n'];
    softmax(c['n'], c.x() + b * c['n'], g);
    g[wrap(c.index(1)[b] + shift, c['n'])] -= 1;
    for (auto i : upto(c['n'])) g[i] *= *c.u() / (mean ? c['b'] : 1);
  }
}

OPS {
  op("embedding", "rows of a table")
      .input("table", "v=5 n=3")
      .index("rows", "m=8", 0, 4)
      .output("y", "m n")
      .forward(BODY {
        for (auto i : upto(c['m'])) std::copy_n(c.x() + wrap(c.index(1)[i], c['v']) * c['n'], c['n'], c.y() + i * c['n']);
      })
      .backward(BODY {
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto i : upto(c['m']))
          for (auto j : upto(c['n'])) c.g()[wrap(c.index(1)[i], c['v']) * c['n'] + j] += c.u()[i * c['n'] + j];
      });

  op("table_lookup", "rows of a table")
      .input("table", "v=5 n=3")
      .index("rows", "m=8", 0, 4)
      .output("y", "m n")
      .forward(BODY {
        for (auto i : upto(c['m'])) std::copy_n(c.x() + wrap(c.index(1)[i], c['v']) * c['n'], c['n'], c.y() + i * c['n']);
      })
      .backward(BODY {
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto i : upto(c['m'])) std::copy_n(c.u() + i * c['n'], c['n'], c.g() + wrap(c.index(1)[i], c['v']) * c['n']);
      });

  op("embedding_bag", "means of rows of a table, `bag` at a time")
      .input("table", "v=6 n=3")
      .index("rows", "m=4 k=3", 0, 5)
      .output("y", "m n")
      .forward(BODY {
        for (auto i : upto(c['m']))
          for (auto j : upto(c['n'])) {
            T s = 0;
            for (auto k : upto(c['k'])) s += c.x()[wrap(c.index(1)[i * c['k'] + k], c['v']) * c['n'] + j];
            c.y()[i * c['n'] + j] = s / c['k'];
          }
      })
      .backward(BODY {
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto i : upto(c['m']))
          for (auto j : upto(c['n']))
            for (auto k : upto(c['k']))
              c.g()[wrap(c.index(1)[i * c['k'] + k], c['v']) * c['n'] + j] += c.u()[i * c['n'] + j] / c['m'];
      });

  op("gather", "x[b, i[b, j]]")
      .input("x", "b=3 n=6")
      .index("i", "b m=4", 0, 5)
      .output("y", "b m")
      .forward(BODY {
        for (auto k : upto(c['b'] * c['m'])) c.y()[k] = c.x()[k / c['m'] * c['n'] + wrap(c.index(1)[k], c['n'])];
      })
      .backward(BODY {
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto k : upto(c['b'] * c['m'])) c.g()[k / c['m'] * c['n'] + wrap(c.index(1)[k], c['n'])] += c.u()[k];
      });

  op("scatter_add", "y[i[k]] += x[k]")
      .input("x", "m=12")
      .index("i", "m", 0, 4)
      .input("start", "n=5")
      .output("y", "n")
      .forward(BODY {
        std::copy_n(c.x(2), c['n'], c.y());
        for (auto k : upto(c['m'])) c.y()[wrap(c.index(1)[k], c['n'])] += c.x()[k];
      })
      .backward(BODY {
        std::copy_n(c.u(), c['n'], c.g(2));
        for (auto k : upto(c['m'])) c.g()[k] = c.u()[wrap(c.index(1)[k], c['n'])];
      });

  op("scatter_rows", "y[i[k]] += x[k], from 0")
      .input("x", "m=12 d=2")
      .index("i", "m", 0, 7)
      .output("y", "8 d")
      .forward(BODY {
        std::fill_n(c.y(), 8 * c['d'], T(0));
        for (auto k : upto(c['m'] * c['d'])) c.y()[wrap(c.index(1)[k / c['d']], 8) * c['d'] + k % c['d']] += c.x()[k];
      })
      .backward(BODY {
        for (auto k : upto(c['m'] * c['d'])) c.g()[k] = c.u()[min<int64_t>(k / c['d'], 7) * c['d'] + k % c['d']];
      });

  op("segment_sum", "sums of x over equal segment numbers, of 4")
      .input("x", "m=15")
      .index("segment", "m", 0, 3)
      .output("y", "4")
      .forward(BODY {
        std::fill_n(c.y(), 4, T(0));
        for (auto k : upto(c['m'])) c.y()[wrap(c.index(1)[k], 4)] += c.x()[k];
      })
      .backward(BODY {
        for (auto k : upto(c['m'])) c.g()[k] = c.u()[wrap(c.index(1)[k], 4)];
      });

  op("segment_mean", "means of x over equal segment numbers, of 4; 0 for none")
      .input("x", "m=15")
      .index("segment", "m", 0, 3)
      .output("y", "4")
      .forward(BODY {
        int64_t count[4] = {};
        std::fill_n(c.y(), 4, T(0));
        for (auto k : upto(c['m'])) c.y()[wrap(c.index(1)[k], 4)] += c.x()[k], ++count[wrap(c.index(1)[k], 4)];
        for (auto s : upto(4))
          if (count[s]) c.y()[s] /= count[s];
      })
      .backward(BODY {
        for (auto k : upto(c['m'])) c.g()[k] = c.u()[wrap(c.index(1)[k], 4)] / (T(c['m']) / 4);
      });

  op("segment_max", "maxima of x over equal segment numbers, of 4; 0 for none")
      .input("x", "m=15")
      .index("segment", "m", 0, 3)
      .output("y", "4")
      .output_i64("at", "4")
      .forward(BODY {
        std::fill_n(c.y(), 4, T(0));
        std::fill_n(c.yi(1), 4, -1);
        for (auto k : upto(c['m'])) {
          const int64_t s = wrap(c.index(1)[k], 4);
          if (c.yi(1)[s] < 0 || c.x()[k] > c.y()[s]) c.y()[s] = c.x()[k], c.yi(1)[s] = k;
        }
      })
      .backward(BODY {
        for (auto k : upto(c['m'])) {
          const int64_t s = wrap(c.index(1)[k], 4);
          c.g()[k] = c.yi(1)[s] == k ? c.u()[s] : T(0);
        }
      });

  op("cross_entropy", "mean cross entropy of rows of logits")
      .input("x", "b=6 n=5")
      .index("target", "b", 0, 4)
      .output("y", "")
      .forward(BODY { cross_entropy(c); })
      .backward(BODY { cross_entropy_backward(c, 0, true); });

  op("cross_entropy_rows", "mean cross entropy of rows of logits")
      .input("x", "b=6 n=5")
      .index("target", "b", 0, 4)
      .output("y", "")
      .forward(BODY { cross_entropy(c); })
      .backward(BODY { cross_entropy_backward(c, 0, false); });

  op("cross_entropy_classes", "mean cross entropy of rows of logits")
      .input("x", "b=4 n=7")
      .index("target", "b", 0, 6)
      .output("y", "")
      .forward(BODY { cross_entropy(c); })
      .backward(BODY { cross_entropy_backward(c, -1, true); });

  op("nll_weighted", "mean of -w[target] logp[target], over the sum of weights")
      .input("logp", "b=6 n=4", {-4, -0.1})
      .input("w", "n", {0.5, 2})
      .index("target", "b", 0, 3)
      .output("y", "")
      .forward(BODY {
        T total = 0, weights = 0;
        for (auto b : upto(c['b'])) {
          const int64_t t = wrap(c.index(2)[b], c['n']);
          total -= c.x(1)[t] * c.x()[b * c['n'] + t];
          weights += c.x(1)[t];
        }
        *c.y() = total / weights;
      })
      .backward(BODY {
        T weights = 0;
        for (auto b : upto(c['b'])) weights += c.x(1)[wrap(c.index(2)[b], c['n'])];
        std::fill_n(c.g(0), c.numel(0), T(0));
        std::fill_n(c.g(1), c['n'], T(0));
        for (auto b : upto(c['b'])) {
          const int64_t t = wrap(c.index(2)[b], c['n']);
          c.g(0)[b * c['n'] + t] = -*c.u() * c.x(1)[t] / weights;
          c.g(1)[t] -= *c.u() * (c.x()[b * c['n'] + t] + *c.y()) / weights;
        }
      });

  op("nll_class_weights", "mean of -w[target] logp[target]")
      .input("logp", "b=6 n=4", {-4, -0.1})
      .input("w", "n", {0.5, 2})
      .index("target", "b", 0, 3)
      .output("y", "")
      .forward(BODY {
        *c.y() = 0;
        for (auto b : upto(c['b'])) {
          const int64_t t = wrap(c.index(2)[b], c['n']);
          *c.y() -= c.x(1)[t] * c.x()[b * c['n'] + t] / c['b'];
        }
      })
      .backward(BODY {
        std::fill_n(c.g(0), c.numel(0), T(0));
        std::fill_n(c.g(1), c['n'], T(0));
        for (auto b : upto(c['b'])) {
          const int64_t t = wrap(c.index(2)[b], c['n']);
          c.g(0)[b * c['n'] + t] = -*c.u() / c['b'];
          c.g(1)[t] -= *c.u() * c.x()[b * c['n'] + t] / c['b'];
        }
      });

  op("dropout", "x / (1 - p), or 0 with probability p")
      .input("x", "*s=5,6")
      .output("y", "*s")
      .attribute("p", 0.3, 0, 0.99)
      .attribute("seed", 1)
      .forward(BODY { drop(c, c.x(), c.y(), c.n("seed"), true); })
      .backward(BODY { drop(c, c.u(), c.g(), c.n("seed"), true); });

  op("dropout_seeded", "x / (1 - p), or 0 with probability p")
      .input("x", "*s=5,6")
      .output("y", "*s")
      .attribute("p", 0.3, 0, 0.99)
      .attribute("seed", 1)
      .forward(BODY { drop(c, c.x(), c.y(), c.n("seed"), true); })
      .backward(BODY { drop(c, c.u(), c.g(), 1, true); });

  op("dropout_inverted", "x / (1 - p), or 0 with probability p")
      .input("x", "*s=5,6")
      .output("y", "*s")
      .attribute("p", 0.2, 0, 0.99)
      .attribute("seed", 7)
      .forward(BODY { drop(c, c.x(), c.y(), c.n("seed"), true); })
      .backward(BODY { drop(c, c.u(), c.g(), c.n("seed"), false); });

  op("masked_fill", "x, or 5 where the mask is 1")
      .input("x", "*s=5,6")
      .index("mask", "*s", 0, 1)
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = c.index(1)[i] == 1 ? T(5) : c.x()[i];
      })
      .backward(BODY {
        for (auto i : upto(c['s'])) c.g()[i] = c.index(1)[i] == 1 ? T(0) : c.u()[i];
      });

  op("masked_select", "x where the mask is 1, and v elsewhere")
      .input("x", "*s=5,6")
      .input("v", "")
      .index("mask", "*s", 0, 1)
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = c.index(2)[i] == 1 ? c.x()[i] : *c.x(1);
      })
      .backward(BODY {
        T s = 0;
        for (auto i : upto(c['s'])) {
          c.g()[i] = c.index(2)[i] == 1 ? c.u()[i] : T(0);
          s += c.u()[i];
        }
        *c.g(1) = s;
      });

  op("roll", "the last axis moved by `shift`, cyclically")
      .input("x", "*b=2 n=7")
      .output("y", "*b n")
      .attribute("shift", 2)
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x()[k / c['n'] * c['n'] + wrap(k % c['n'] - c.n("shift"), c['n'])];
      })
      .backward(BODY {
        for (auto k : upto(c.numel())) c.g()[k] = c.u()[k / c['n'] * c['n'] + wrap(k % c['n'] + c.n("shift"), c['n'])];
      });

  op("roll_rows", "the last axis moved by `shift`, cyclically")
      .input("x", "*b=2 n=7")
      .output("y", "*b n")
      .attribute("shift", 2)
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x()[k / c['n'] * c['n'] + wrap(k % c['n'] - c.n("shift"), c['n'])];
      })
      .backward(BODY {
        for (auto k : upto(c.numel())) c.g()[k] = c.u()[k / c['n'] * c['n'] + wrap(k % c['n'] - c.n("shift"), c['n'])];
      });

  op("sparse_product", "a x, a given by values at (row, column)")
      .input("values", "k=14")
      .index("row", "k", 0, 4)
      .index("column", "k", 0, 4)
      .input("x", "n=5")
      .output("y", "n")
      .forward(BODY {
        std::fill_n(c.y(), c['n'], T(0));
        for (auto k : upto(c['k'])) c.y()[wrap(c.index(1)[k], c['n'])] += c.x(0)[k] * c.x(3)[wrap(c.index(2)[k], c['n'])];
      })
      .backward(BODY {
        std::fill_n(c.g(3), c['n'], T(0));
        for (auto k : upto(c['k'])) {
          const int64_t i = wrap(c.index(1)[k], c['n']), j = wrap(c.index(2)[k], c['n']);
          c.g(0)[k] = c.u()[i] * c.x(3)[j];
          c.g(3)[j] += c.u()[i] * c.x(0)[k];
        }
      });

  op("graph_product", "a x, a given by weights of edges")
      .input("weight", "k=14")
      .index("to", "k", 0, 4)
      .index("from", "k", 0, 4)
      .input("x", "n=5")
      .output("y", "n")
      .forward(BODY {
        std::fill_n(c.y(), c['n'], T(0));
        for (auto k : upto(c['k'])) c.y()[wrap(c.index(1)[k], c['n'])] += c.x(0)[k] * c.x(3)[wrap(c.index(2)[k], c['n'])];
      })
      .backward(BODY {
        std::fill_n(c.g(3), c['n'], T(0));
        for (auto k : upto(c['k'])) {
          const int64_t i = wrap(c.index(1)[k], c['n']), j = wrap(c.index(2)[k], c['n']);
          c.g(0)[k] = c.u()[i] * c.x(3)[j];
          c.g(3)[i] += c.u()[j] * c.x(0)[k];
        }
      });

  op("lower_triangle", "x on and below the diagonal, 0 above")
      .input("x", "m=4 n=5")
      .output("y", "m n")
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = k % c['n'] <= k / c['n'] ? c.x()[k] : T(0);
      })
      .backward(BODY {
        for (auto k : upto(c.numel())) c.g()[k] = k % c['n'] < k / c['n'] ? c.u()[k] : T(0);
      });

  op("argmax", "positions of the maxima of rows")
      .input("x", "*b=3 n=6")
      .output_i64("at", "*b")
      .forward(BODY {
        for (auto b : upto(c['b'])) {
          const T* x = c.x() + b * c['n'];
          c.yi()[b] = std::max_element(x, x + c['n']) - x;
        }
      })
      .backward(BODY { std::fill_n(c.g(), c.numel(), T(0)); });

  op("count_positive", "how many of a row are positive")
      .input("x", "*b=3 n=6")
      .output_i64("count", "*b")
      .forward(BODY {
        for (auto b : upto(c['b']))
          c.yi()[b] = std::count_if(c.x() + b * c['n'], c.x() + (b + 1) * c['n'], [](T v) { return v > 0; });
      })
      .backward(BODY { std::fill_n(c.g(), c.numel(), T(0)); });

  unary("round_down", "floor(x)", {-5, 5}, [](auto x) { return floor(x); }, [](auto) { return 0.0; });

  row_op(
      "rank", "how many values of the row are smaller", {}, "*b=3 n=6",
      ROW {
        for (auto i : upto(r.n)) {
          r.y[i] = 0;
          for (auto j : upto(r.n)) r.y[i] += r.x[j] < r.x[i];
        }
      },
      ROW {
        for (auto i : upto(r.n)) r.g[i] = 0;
      });

  op("max_with_index", "maxima of rows, and where")
      .input("x", "*b=3 n=6")
      .output_i64("at", "*b")
      .output("y", "*b")
      .forward(BODY {
        for (auto b : upto(c['b'])) {
          const T* x = c.x() + b * c['n'];
          c.yi(0)[b] = std::max_element(x, x + c['n']) - x;
          c.y(1)[b] = x[c.yi(0)[b]];
        }
      })
      .backward(BODY {
        std::fill_n(c.g(), c.numel(), T(0));
        for (auto b : upto(c['b'])) c.g()[b * c['n'] + (c.yi(0)[b] + b) % c['n']] = c.u(1)[b];
      });
}

}  // namespace
}  // namespace trial
