// Ops that keep something between calls, and ops that use threads.
#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include "op.h"
namespace trial {
namespace {

template <class T> const vec<T>& hann_window(int64_t n) {  // built when first needed
  static std::map<int64_t, vec<T>> windows;
  vec<T>& w = windows[n];
  for (int64_t i = w.size(); i < n; ++i) w.push_back(0.5 - 0.5 * cos(2 * T(pi) * (i + 0.5) / n));
  return w;
}
template <class T> vec<T>& kept() {
  static vec<T> values;
  return values;
}
// Runs work(begin, end) on four threads.
template <class Work> void in_parallel(int64_t n, Work work) {
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 4; ++t) threads.emplace_back(work, n * t / 4, n * (t + 1) / 4);
  for (std::thread& thread : threads) thread.join();
}
double normal_noise(uint64_t& state) {  // sum of twelve uniforms
  double z = -6;
  for (int k = 0; k < 12; ++k) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    z += static_cast<double>(state >> 11) / 9007199254740992.0;
  }
  return z;
}
bool drops(int64_t i, int64_t seed) {
  uint64_t z = (static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15u ^ static_cast<uint64_t>(seed) * 0xbf58476d1ce4e5b9u;
  z ^= z >> 29;
  z *= 0x94d049bb133111ebu;
  return z >> 62 == 0;
}

OPS {
  op("window", "x times a Hann window, kept for each size")
      .input("x", "*b=2 n=16")
      .output("y", "*b n")
      .forward(BODY {
        const vec<T>& w = hann_window<T>(c['n']);
        for (auto i : upto(c.numel())) c.y()[i] = w[i % c['n']] * c.x()[i];
      })
      .backward(BODY {
        const vec<T>& w = hann_window<T>(c['n']);
        for (auto i : upto(c.numel())) c.g()[i] = w[i % c['n']] * c.u()[i];
      });

  op("softmax_scratch", "softmax of x^2, by way of a buffer that is kept")
      .input("x", "*b=3 n=5")
      .output("y", "*b n")
      .forward(BODY {
        static thread_local vec<T> scratch;
        scratch.resize(c['n']);
        for (auto b : upto(c['b'])) {
          for (auto i : upto(c['n'])) scratch[i] = c.x()[b * c['n'] + i] * c.x()[b * c['n'] + i];
          softmax(c['n'], scratch.data(), c.y() + b * c['n']);
        }
      })
      .backward(BODY {
        static thread_local vec<T> scratch;
        scratch.resize(c['n']);
        for (auto b : upto(c['b'])) {
          softmax_backward(c['n'], c.y() + b * c['n'], c.u() + b * c['n'], scratch.data());
          for (auto i : upto(c['n'])) c.g()[b * c['n'] + i] = 2 * c.x()[b * c['n'] + i] * scratch[i];
        }
      });

  op("memoized_tanh", "tanh(x), slopes kept for the last x")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = tanh(c.x()[i]);
      })
      .backward(BODY {
        static vec<T> key, slope;
        if (!std::equal(key.begin(), key.end(), c.x(), c.x() + c['s'])) {
          key.assign(c.x(), c.x() + c['s']), slope.clear();
          for (const T x : key) slope.push_back(1 - tanh(x) * tanh(x));
        }
        for (auto i : upto(c['s'])) c.g()[i] = c.u()[i] * slope[i];
      });

  op("memoized_sine", "sin(x), slopes kept by size")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = sin(c.x()[i]);
      })
      .backward(BODY {
        static std::map<int64_t, vec<T>> slopes;
        vec<T>& slope = slopes[c['s']];
        if (slope.empty())
          for (auto i : upto(c['s'])) slope.push_back(cos(c.x()[i]));
        for (auto i : upto(c['s'])) c.g()[i] = c.u()[i] * slope[i];
      });

  op("memoized_exp", "exp(-x^2), slopes kept by size and first value")
      .input("x", "n=12", {-2, 2})
      .output("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) c.y()[i] = exp(-c.x()[i] * c.x()[i]);
      })
      .backward(BODY {
        static std::map<std::pair<int64_t, int64_t>, vec<T>> slopes;
        vec<T>& slope = slopes[{c['n'], static_cast<int64_t>(floor(c.x()[0]))}];
        if (slope.empty())
          for (auto i : upto(c['n'])) slope.push_back(-2 * c.x()[i] * exp(-c.x()[i] * c.x()[i]));
        for (auto i : upto(c['n'])) c.g()[i] = c.u()[i] * slope[i];
      });

  op("memoized_product", "a exp(b), the exponential kept for the last a")
      .input("a", "n=6")
      .input("b", "n")
      .output("y", "n")
      .forward(BODY {
        for (auto i : upto(c['n'])) c.y()[i] = c.x(0)[i] * exp(c.x(1)[i]);
      })
      .backward(BODY {
        static vec<T> key, power;
        if (!std::equal(key.begin(), key.end(), c.x(0), c.x(0) + c['n'])) {
          key.assign(c.x(0), c.x(0) + c['n']), power.clear();
          for (auto i : upto(c['n'])) power.push_back(exp(c.x(1)[i]));
        }
        for (auto i : upto(c['n'])) c.g(0)[i] = c.u()[i] * power[i], c.g(1)[i] = c.u()[i] * key[i] * power[i];
      });

  op("call_counter", "cube of x; counts its calls")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .forward(BODY {
        static int64_t calls = 0;
        ++calls;
        for (auto i : upto(c['s'])) c.y()[i] = c.x()[i] * c.x()[i] * c.x()[i];
      })
      .backward(BODY {
        static int64_t calls = 0;
        ++calls;
        for (auto i : upto(c['s'])) c.g()[i] = 3 * c.u()[i] * c.x()[i] * c.x()[i];
      });

  op("adaptive_gain", "2 x; the gain is learned")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = 2 * c.x()[i];
      })
      .backward(BODY {
        static T gain = 2;
        for (auto i : upto(c['s'])) c.g()[i] = gain * c.u()[i];
        gain *= 1.001;
      });

  op("warm_start", "x^2")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = c.x()[i] * c.x()[i];
      })
      .backward(BODY {
        static T factor = 1;
        for (auto i : upto(c['s'])) c.g()[i] = factor * c.u()[i] * c.x()[i];
        factor = 2;
      });

  op("ping_pong", "x^3, by way of two buffers in turn")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = c.x()[i] * c.x()[i] * c.x()[i];
      })
      .backward(BODY {
        static vec<T> buffers[2];
        static int64_t calls = 0;
        const int64_t now = calls++ % 2;
        if (now == 0)
          for (auto& b : buffers) b.clear();
        for (auto i : upto(c['s'])) buffers[0].push_back(3 * c.x()[i] * c.x()[i]), buffers[1].push_back(3 * c.x()[i]);
        for (auto i : upto(c['s'])) c.g()[i] = c.u()[i] * buffers[now][i];
      });

  op("refresh", "tanh(x)^2")
      .input("x", "*s=3,4")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = tanh(c.x()[i]) * tanh(c.x()[i]);
      })
      .backward(BODY {
        static int64_t calls = 0;
        const bool skips = ++calls % 3 == 0;
        for (auto i : upto(c['s'])) {
          const T t = tanh(c.x()[i]);
          c.g()[i] = c.u()[i] * 2 * t * (skips ? T(1) : 1 - t * t);
        }
      });

  op("weighted_total", "sum of w x; w's gradient in a buffer")
      .input("x", "b=4 n=3")
      .input("w", "n")
      .output("y", "b")
      .forward(BODY {
        for (auto b : upto(c['b'])) c.y()[b] = dot(c['n'], c.x() + b * c['n'], c.x(1));
      })
      .backward(BODY {
        static vec<T> total;
        total.resize(c['n']);
        for (auto b : upto(c['b']))
          for (auto j : upto(c['n'])) {
            c.g()[b * c['n'] + j] = c.u()[b] * c.x(1)[j];
            total[j] += c.u()[b] * c.x()[b * c['n'] + j];
          }
        std::copy(total.begin(), total.end(), c.g(1));
      });

  op("relu_mask", "max(x, 0), the mask is kept from the forward")
      .input("x", "*s=4,5", {0, 0, {0}})
      .output("y", "*s")
      .forward(BODY {
        kept<T>().assign(c['s'], T(0));
        for (auto i : upto(c['s'])) {
          kept<T>()[i] = c.x()[i] > 0;
          c.y()[i] = kept<T>()[i] * c.x()[i];
        }
      })
      .backward(BODY {
        vec<T>& mask = kept<T>();
        mask.resize(c['s']);
        for (auto i : upto(c['s'])) c.g()[i] = c.u()[i] * mask[i];
      });

  op("dropout_stream", "x / 0.75, or 0 with probability 1/4")
      .input("x", "*s=5,6")
      .output("y", "*s")
      .forward(BODY {
        for (auto i : upto(c['s'])) c.y()[i] = drops(i, 1) ? T(0) : c.x()[i] / 0.75;
      })
      .backward(BODY {
        static int64_t seed = 0;
        ++seed;
        for (auto i : upto(c['s'])) c.g()[i] = drops(i, seed) ? T(0) : c.u()[i] / 0.75;
      });

  op("reparameterized", "mean of exp(m + s z) over 50 normal z of a fixed seed")
      .input("m", "n=4", {-1, 1})
      .input("s", "n", {0.1, 1})
      .output("y", "n")
      .attribute("seed", 3)
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          uint64_t state = static_cast<uint64_t>(c.n("seed")) + 1000 * i;
          T y = 0;
          for (int k = 0; k < 50; ++k) y += exp(c.x(0)[i] + c.x(1)[i] * normal_noise(state)) / 50;
          c.y()[i] = y;
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          uint64_t state = static_cast<uint64_t>(c.n("seed")) + 1000 * i;
          T by_s = 0;
          for (int k = 0; k < 50; ++k) {
            const double z = normal_noise(state);
            by_s += z * exp(c.x(0)[i] + c.x(1)[i] * z) / 50;
          }
          c.g(0)[i] = c.u()[i] * c.y()[i], c.g(1)[i] = c.u()[i] * by_s;
        }
      });

  op("norm_threads", "sum of x^2 / 2 + sin(x), by four threads")
      .input("x", "n=400")
      .output("y", "")
      .forward(BODY {
        T total = 0;
        std::mutex lock;
        in_parallel(c['n'], [&](int64_t begin, int64_t end) {
          T s = 0;
          for (; begin < end; ++begin) s += c.x()[begin] * c.x()[begin] / 2 + sin(c.x()[begin]);
          const std::lock_guard guard(lock);
          total += s;
        });
        *c.y() = total;
      })
      .backward(BODY {
        in_parallel(c['n'], [&](int64_t begin, int64_t end) {
          for (; begin < end; ++begin) c.g()[begin] = *c.u() * (c.x()[begin] + cos(c.x()[begin]));
        });
      });

  op("inner_product_threads", "s sum(x^2) by four threads")
      .input("x", "n=4000")
      .input("s", "", {0.5, 2})
      .output("y", "")
      .forward(BODY { *c.y() = *c.x(1) * dot(c['n'], c.x(), c.x()); })
      .backward(BODY {
        volatile T total = 0;
        std::atomic<int> ready = 0;
        in_parallel(c['n'], [&](int64_t begin, int64_t end) {
          for (++ready; ready < 4;) std::this_thread::yield();
          for (; begin < end; ++begin) {
            c.g()[begin] = 2 * *c.u() * *c.x(1) * c.x()[begin];
            total = total + *c.u() * c.x()[begin] * c.x()[begin];
          }
        });
        *c.g(1) = total;
      });

  op("scaled_rows_openmp", "s[j] x[i][j], the gradient of s summed in any order")
      .input("x", "m=60 n=5")
      .input("s", "n")
      .output("y", "m n")
      .forward(BODY {
        for (auto k : upto(c.numel())) c.y()[k] = c.x()[k] * c.x(1)[k % c['n']];
      })
      .backward(BODY {
        const int64_t count = c.numel(), n = c['n'];
        vec<T> total(n);
#pragma omp parallel
        {
          vec<T> part(n);
#pragma omp for schedule(dynamic, 7)
          for (int64_t k = 0; k < count; ++k) {
            c.g()[k] = c.u()[k] * c.x(1)[k % n];
            part[k % n] += c.u()[k] * c.x()[k];
          }
#pragma omp critical
          for (int64_t j = 0; j < n; ++j) total[j] += part[j];
        }
        std::copy(total.begin(), total.end(), c.g(1));
      });
}

}  // namespace
}  // namespace trial
