// Convolutions, transforms, sampling of images, rotations.
#include "op.h"
namespace trial {
namespace {

// y[i] = sum_j w[j] x[i stride + j dilation - padding]; visit(i, j, where in x).
template <class Visit>
void taps(int64_t n, int64_t k, int64_t out, int64_t stride, int64_t dilation, int64_t padding, Visit visit) {
  for (auto i : upto(out))
    for (auto j : upto(k)) {
      const int64_t at = i * stride + j * dilation - padding;
      if (at >= 0 && at < n) visit(i, j, at);
    }
}
int64_t conv_size(int64_t n, int64_t k, int64_t stride, int64_t dilation, int64_t padding) {
  const int64_t room = n + 2 * padding - (k - 1) * dilation - 1;
  return room < 0 ? 0 : room / stride + 1;
}
// As above in a plane, with padding on all sides and one input and output channel each.
template <class Visit> void taps2(int64_t h, int64_t w, int64_t k, int64_t padding, Visit visit) {
  const int64_t oh = h + 2 * padding - k + 1, ow = w + 2 * padding - k + 1;
  for (auto i : upto(oh))
    for (auto j : upto(ow))
      for (auto p : upto(k))
        for (auto q : upto(k)) {
          const int64_t r = i + p - padding, s = j + q - padding;
          if (r >= 0 && r < h && s >= 0 && s < w) visit(i * ow + j, p * k + q, r * w + s);
        }
}
// Discrete Fourier transform, by halves while the size is even. sign -1: forward, 1: backward; not scaled.
template <class T> void fourier(int64_t n, int64_t stride, int sign, const T* re, const T* im, T* yr, T* yi) {
  if (n % 2) {
    for (auto k : upto(n)) {
      yr[k] = yi[k] = 0;
      for (auto j : upto(n)) {
        const T angle = sign * 2 * T(pi) * (j * k % n) / n, c = cos(angle), s = sin(angle);
        yr[k] += re[j * stride] * c - im[j * stride] * s;
        yi[k] += re[j * stride] * s + im[j * stride] * c;
      }
    }
    return;
  }
  const int64_t half = n / 2;
  fourier(half, 2 * stride, sign, re, im, yr, yi);
  fourier(half, 2 * stride, sign, re + stride, im + stride, yr + half, yi + half);
  for (auto k : upto(half)) {
    const T angle = sign * 2 * T(pi) * k / n, c = cos(angle), s = sin(angle);
    const T br = yr[k + half] * c - yi[k + half] * s, bi = yr[k + half] * s + yi[k + half] * c;
    yr[k + half] = yr[k] - br, yi[k + half] = yi[k] - bi;
    yr[k] += br, yi[k] += bi;
  }
}
// Bilinear sampling at (r, s) in [-1, 1], the corners being the outermost pixels; each corner's weight and derivatives.
template <class T, class Visit> void bilinear(int64_t h, int64_t w, T r, T s, Visit visit) {
  const T y = (r + 1) / 2 * (h - 1), x = (s + 1) / 2 * (w - 1);
  const int64_t i = static_cast<int64_t>(floor(y)), j = static_cast<int64_t>(floor(x));
  for (auto a : upto(2))
    for (auto b : upto(2)) {
      if (i + a < 0 || i + a >= h || j + b < 0 || j + b >= w) continue;
      const T p = a ? y - i : 1 - (y - i), q = b ? x - j : 1 - (x - j);
      visit((i + a) * w + j + b, p * q, (a ? q : -q), (b ? p : -p));
    }
}
template <class T> void sample(const Call<T>& c) {
  for (auto m : upto(c['m'])) {
    T z = 0;
    bilinear(c['h'], c['w'], c.x(1)[2 * m], c.x(1)[2 * m + 1], [&](int64_t at, T p, T, T) { z += p * c.x()[at]; });
    c.y()[m] = z;
  }
}
template <class T> void sample_backward(const Call<T>& c, T by_row, T by_column) {
  std::fill_n(c.g(0), c.numel(0), T(0));
  for (auto m : upto(c['m'])) {
    T r = 0, s = 0;
    bilinear(c['h'], c['w'], c.x(1)[2 * m], c.x(1)[2 * m + 1], [&](int64_t at, T p, T dr, T ds) {
      c.g()[at] += c.u()[m] * p;
      r += dr * c.x()[at];
      s += ds * c.x()[at];
    });
    c.g(1)[2 * m] = c.u()[m] * r * by_row, c.g(1)[2 * m + 1] = c.u()[m] * s * by_column;
  }
}

OPS {
  op("convolution", "correlation with stride, dilation and padding")
      .input("x", "n=20")
      .input("w", "k=3")
      .output("y", "m")
      .attribute("stride", 2, 1, 16)
      .attribute("dilation", 3, 1, 16)
      .attribute("padding", 2, 0, 16)
      .let('m', [](const Sizes& s) { return conv_size(s['n'], s['k'], s.n("stride"), s.n("dilation"), s.n("padding")); })
      .forward(BODY {
        std::fill_n(c.y(), c['m'], T(0));
        taps(c['n'], c['k'], c['m'], c.n("stride"), c.n("dilation"), c.n("padding"),
             [&](int64_t i, int64_t j, int64_t at) { c.y()[i] += c.x(1)[j] * c.x()[at]; });
      })
      .backward(BODY {
        std::fill_n(c.g(0), c['n'], T(0));
        std::fill_n(c.g(1), c['k'], T(0));
        taps(c['n'], c['k'], c['m'], c.n("stride"), c.n("dilation"), c.n("padding"), [&](int64_t i, int64_t j, int64_t at) {
          c.g(0)[at] += c.x(1)[j] * c.u()[i];
          c.g(1)[j] += c.x()[at] * c.u()[i];
        });
      });

  op("convolution_strided", "correlation with stride and dilation")
      .input("x", "n=20")
      .input("w", "k=3")
      .output("y", "m")
      .attribute("stride", 1, 1, 16)
      .attribute("dilation", 1, 1, 16)
      .let('m', [](const Sizes& s) { return conv_size(s['n'], s['k'], s.n("stride"), s.n("dilation"), 0); })
      .forward(BODY {
        std::fill_n(c.y(), c['m'], T(0));
        taps(c['n'], c['k'], c['m'], c.n("stride"), c.n("dilation"), 0,
             [&](int64_t i, int64_t j, int64_t at) { c.y()[i] += c.x(1)[j] * c.x()[at]; });
      })
      .backward(BODY {
        std::fill_n(c.g(0), c['n'], T(0));
        std::fill_n(c.g(1), c['k'], T(0));
        taps(c['n'], c['k'], c['m'], c.n("dilation"), c.n("stride"), 0, [&](int64_t i, int64_t j, int64_t at) {
          c.g(0)[at] += c.x(1)[j] * c.u()[i];
          c.g(1)[j] += c.x()[at] * c.u()[i];
        });
      });

  op("convolution_padded", "correlation, padded with zeros to the same length")
      .input("x", "n=12")
      .input("w", "5")
      .output("y", "n")
      .forward(BODY {
        std::fill_n(c.y(), c['n'], T(0));
        taps(c['n'], 5, c['n'], 1, 1, 2, [&](int64_t i, int64_t j, int64_t at) { c.y()[i] += c.x(1)[j] * c.x()[at]; });
      })
      .backward(BODY {
        std::fill_n(c.g(0), c['n'], T(0));
        std::fill_n(c.g(1), 5, T(0));
        taps(c['n'], 5, c['n'], 1, 1, 2, [&](int64_t i, int64_t j, int64_t at) { c.g(0)[at] += c.x(1)[j] * c.u()[i]; });
        taps(c['n'], 5, c['n'], 1, 1, 0, [&](int64_t i, int64_t j, int64_t at) { c.g(1)[j] += c.x()[at] * c.u()[i]; });
      });

  op("convolution_plane", "correlation of a plane, padded by 1")
      .input("x", "h=7 w=6")
      .input("kernel", "k=3 k")
      .output("y", "p q")
      .let('p', [](const Sizes& s) { return s['h'] + 3 - s['k']; })
      .let('q', [](const Sizes& s) { return s['w'] + 3 - s['k']; })
      .forward(BODY {
        std::fill_n(c.y(), c['p'] * c['q'], T(0));
        taps2(c['h'], c['w'], c['k'], 1, [&](int64_t i, int64_t j, int64_t at) { c.y()[i] += c.x(1)[j] * c.x()[at]; });
      })
      .backward(BODY {
        std::fill_n(c.g(0), c.numel(0), T(0));
        std::fill_n(c.g(1), c.numel(1), T(0));
        taps2(c['h'], c['w'], c['k'], 1, [&](int64_t i, int64_t j, int64_t at) {
          c.g(0)[at] += c.x(1)[j] * c.u()[i];
          c.g(1)[j] += c.x()[at] * c.u()[i];
        });
      });

  op("convolution_image", "correlation of a plane, padded by 1")
      .input("x", "h=6 w=6")
      .input("kernel", "3 3")
      .output("y", "h w")
      .forward(BODY {
        std::fill_n(c.y(), c.numel(), T(0));
        taps2(c['h'], c['w'], 3, 1, [&](int64_t i, int64_t j, int64_t at) { c.y()[i] += c.x(1)[j] * c.x()[at]; });
      })
      .backward(BODY {
        std::fill_n(c.g(0), c.numel(0), T(0));
        std::fill_n(c.g(1), 9, T(0));
        taps2(c['h'], c['w'], 3, 1, [&](int64_t i, int64_t j, int64_t at) {
          c.g(0)[at] += c.x(1)[j] * c.u()[i];
          c.g(1)[j % 3 * 3 + j / 3] += c.x()[at] * c.u()[i];
        });
      });

  op("depthwise_convolution", "each channel with its own kernel")
      .input("x", "b=2 c=3 n=9")
      .input("w", "c k=4")
      .output("y", "b c m")
      .let('m', [](const Sizes& s) { return s['n'] - s['k'] + 1; })
      .forward(BODY {
        for (auto r : upto(c['b'] * c['c']))
          for (auto i : upto(c['m'])) c.y()[r * c['m'] + i] = dot(c['k'], c.x() + r * c['n'] + i, c.x(1) + r % c['c'] * c['k']);
      })
      .backward(BODY {
        std::fill_n(c.g(0), c.numel(0), T(0));
        std::fill_n(c.g(1), c.numel(1), T(0));
        for (auto r : upto(c['b'] * c['c']))
          for (auto i : upto(c['m']))
            for (auto j : upto(c['k'])) {
              const T u = c.u()[r * c['m'] + i];
              const int64_t at = r * c['n'] + i + j, w = r % c['c'] * c['k'] + j;
              c.g(0)[at] += u * c.x(1)[w], c.g(1)[w] += u * c.x()[at];
            }
      });

  op("transposed_convolution", "y[2 i + j] += x[i] w[j]")
      .input("x", "n=6")
      .input("w", "k=4")
      .output("y", "m")
      .let('m', [](const Sizes& s) { return 2 * (s['n'] - 1) + s['k']; })
      .forward(BODY {
        std::fill_n(c.y(), c['m'], T(0));
        for (auto i : upto(c['n']))
          for (auto j : upto(c['k'])) c.y()[2 * i + j] += c.x()[i] * c.x(1)[j];
      })
      .backward(BODY {
        std::fill_n(c.g(1), c['k'], T(0));
        for (auto i : upto(c['n'])) {
          c.g()[i] = dot(c['k'], c.u() + 2 * i, c.x(1));
          for (auto j : upto(c['k'])) c.g(1)[j] += c.x()[i] * c.u()[2 * i + j];
        }
      });

  op("upsampling_convolution", "y[2 i + j] += x[i] w[j]")
      .input("x", "n=6")
      .input("w", "k=4")
      .output("y", "m")
      .let('m', [](const Sizes& s) { return 2 * (s['n'] - 1) + s['k']; })
      .forward(BODY {
        std::fill_n(c.y(), c['m'], T(0));
        for (auto i : upto(c['n']))
          for (auto j : upto(c['k'])) c.y()[2 * i + j] += c.x()[i] * c.x(1)[j];
      })
      .backward(BODY {
        std::fill_n(c.g(1), c['k'], T(0));
        for (auto i : upto(c['n'])) {
          c.g()[i] = 0;
          for (auto j : upto(c['k']))
            c.g()[i] += c.u()[2 * i + j] * c.x(1)[c['k'] - 1 - j], c.g(1)[j] += c.x()[i] * c.u()[2 * i + j];
        }
      });

  op("fourier", "discrete Fourier transform of complex numbers")
      .input("re", "n=24")
      .input("im", "n")
      .output("yr", "n")
      .output("yi", "n")
      .forward(BODY { fourier(c['n'], 1, -1, c.x(0), c.x(1), c.y(0), c.y(1)); })
      .backward(BODY { fourier(c['n'], 1, 1, c.u(0), c.u(1), c.g(0), c.g(1)); });

  op("fourier_inverse", "inverse discrete Fourier transform of complex numbers")
      .input("re", "n=12")
      .input("im", "n")
      .output("yr", "n")
      .output("yi", "n")
      .forward(BODY {
        fourier(c['n'], 1, 1, c.x(0), c.x(1), c.y(0), c.y(1));
        for (int k : {0, 1})
          for (auto i : upto(c['n'])) c.y(k)[i] /= c['n'];
      })
      .backward(BODY { fourier(c['n'], 1, -1, c.u(0), c.u(1), c.g(0), c.g(1)); });

  op("power_spectrum", "squared magnitudes of the discrete Fourier transform of real numbers")
      .input("x", "n=10")
      .output("y", "n")
      .forward(BODY {
        vec<T> zero(c['n']), re(c['n']), im(c['n']);
        fourier(c['n'], 1, -1, c.x(), zero.data(), re.data(), im.data());
        for (auto i : upto(c['n'])) c.y()[i] = re[i] * re[i] + im[i] * im[i];
      })
      .backward(BODY {
        vec<T> zero(c['n']), re(c['n']), im(c['n']), rest(c['n']);
        fourier(c['n'], 1, -1, c.x(), zero.data(), re.data(), im.data());
        for (auto i : upto(c['n'])) re[i] *= 2 * c.u()[i], im[i] *= 2 * c.u()[i];
        fourier(c['n'], 1, -1, re.data(), im.data(), c.g(), rest.data());
      });

  op("grid_sample", "bilinear samples of a plane at positions in [-1, 1], 0 outside")
      .input("x", "h=5 w=7")
      .input("at", "m=9 2", {-0.99, 0.99})
      .output("y", "m")
      .require("needs two rows and columns", [](const Sizes& s) { return s['h'] > 1 && s['w'] > 1; })
      .forward(BODY { sample(c); })
      .backward(BODY { sample_backward(c, T(c['h'] - 1) / 2, T(c['w'] - 1) / 2); });

  op("image_sample", "bilinear samples of a plane at positions in [-1, 1], 0 outside")
      .input("x", "h=5 w=7")
      .input("at", "m=9 2", {-0.99, 0.99})
      .output("y", "m")
      .require("needs two rows and columns", [](const Sizes& s) { return s['h'] > 1 && s['w'] > 1; })
      .forward(BODY { sample(c); })
      .backward(BODY { sample_backward(c, T(c['h']) / 2, T(c['w']) / 2); });

  op("quaternion_rotate", "v turned by the quaternion q, whatever its length")
      .input("q", "n=3 4")
      .input("v", "n 3")
      .output("y", "n 3")
      .forward(BODY {
        for (auto i : upto(c['n'])) {
          const T *q = c.x() + 4 * i, *v = c.x(1) + 3 * i, *p = q + 1, norm = dot(4, q, q), pv = dot(3, p, v);
          for (auto j : upto(3))
            c.y()[3 * i + j] = ((q[0] * q[0] - dot(3, p, p)) * v[j] + 2 * pv * p[j] +
                                2 * q[0] * (p[(j + 1) % 3] * v[(j + 2) % 3] - p[(j + 2) % 3] * v[(j + 1) % 3])) /
                               norm;
        }
      })
      .backward(BODY {
        for (auto i : upto(c['n'])) {
          const T *q = c.x() + 4 * i, *v = c.x(1) + 3 * i, *p = q + 1, *u = c.u() + 3 * i, *y = c.y() + 3 * i;
          const T norm = dot(4, q, q), pv = dot(3, p, v), pu = dot(3, p, u), uv = dot(3, u, v), uy = dot(3, u, y);
          T by_angle = 0;
          for (auto j : upto(3)) {
            const int64_t k = (j + 1) % 3, l = (j + 2) % 3;
            by_angle += u[j] * (p[k] * v[l] - p[l] * v[k]);
            c.g(1)[3 * i + j] =
                ((q[0] * q[0] - dot(3, p, p)) * u[j] + 2 * pu * p[j] + 2 * q[0] * (u[k] * p[l] - u[l] * p[k])) / norm;
            c.g(0)[4 * i + 1 + j] =
                2 * (-p[j] * uv + pu * v[j] + pv * u[j] + q[0] * (v[k] * u[l] - v[l] * u[k]) - q[j + 1] * uy) / norm;
          }
          c.g(0)[4 * i] = 2 * (q[0] * uv + by_angle - q[0] * uy) / norm;
        }
      });

  op("upsample_linear", "twice as long minus one, means in between")
      .input("x", "*b=2 n=6")
      .output("y", "*b m")
      .let('m', [](const Sizes& s) { return 2 * s['n'] - 1; })
      .forward(BODY {
        for (auto b : upto(c['b']))
          for (auto i : upto(c['m'])) {
            const T* x = c.x() + b * c['n'] + i / 2;
            c.y()[b * c['m'] + i] = i % 2 ? (x[0] + x[1]) / 2 : x[0];
          }
      })
      .backward(BODY {
        for (auto b : upto(c['b']))
          for (auto i : upto(c['n'])) {
            const T* u = c.u() + b * c['m'] + 2 * i;
            c.g()[b * c['n'] + i] = i == 0 || i == c['n'] - 1 ? u[0] : u[0] + (u[-1] + u[1]) / 2;
          }
      });

  op("blur_reflected", "(1, 2, 1) / 4, reflected at the ends")
      .input("x", "*b=2 n=7")
      .output("y", "*b n")
      .require("needs two values", [](const Sizes& s) { return s['n'] > 1; })
      .forward(BODY {
        for (auto k : upto(c.numel())) {
          const int64_t i = k % c['n'];
          const T* x = c.x() + k;
          c.y()[k] = (x[i ? -1 : 1] + 2 * x[0] + x[i + 1 < c['n'] ? 1 : -1]) / 4;
        }
      })
      .backward(BODY {
        for (auto k : upto(c.numel())) {
          const int64_t i = k % c['n'];
          const T* u = c.u() + k;
          c.g()[k] = (u[i ? -1 : 1] + 2 * u[0] + u[i + 1 < c['n'] ? 1 : -1]) / 4;
        }
      });

  op("cosine_transform", "discrete cosine transform of the second kind")
      .input("x", "*b=2 n=8")
      .output("y", "*b n")
      .forward(BODY {
        for (auto b : upto(c['b']))
          for (auto k : upto(c['n'])) {
            T s = 0;
            for (auto j : upto(c['n'])) s += c.x()[b * c['n'] + j] * cos(T(pi) * (2 * j + 1) * k / (2 * c['n']));
            c.y()[b * c['n'] + k] = s;
          }
      })
      .backward(BODY {
        for (auto b : upto(c['b']))
          for (auto k : upto(c['n'])) {
            T s = 0;
            for (auto j : upto(c['n'])) s += c.u()[b * c['n'] + j] * cos(T(pi) * (2 * j + 1) * k / (2 * c['n']));
            c.g()[b * c['n'] + k] = s;
          }
      });
}

}  // namespace
}  // namespace trial
