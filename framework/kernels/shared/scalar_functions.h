// Element-wise functions: value and derivative in one place, templated on the scalar type and compiled for every device
// from this header. `derivative(x, y)` may use the input x and the output y = value(x); the gradient checker compares it
// with what `value` returns for dual numbers.
#pragma once

#include "framework/kernels/shared/scalar_math.h"

namespace gradus::functions {

struct Neg {
  template <class T> GRADUS_HOST_DEVICE T value(T x) const { return -x; }
  template <class T> GRADUS_HOST_DEVICE T derivative(T, T) const { return T(-1); }
};

struct Exp {
  template <class T> GRADUS_HOST_DEVICE T value(T x) const { return exp(x); }
  template <class T> GRADUS_HOST_DEVICE T derivative(T, T y) const { return y; }
};

struct Log {
  template <class T> GRADUS_HOST_DEVICE T value(T x) const { return log(x); }
  template <class T> GRADUS_HOST_DEVICE T derivative(T x, T) const { return T(1) / x; }
};

struct Sqrt {
  template <class T> GRADUS_HOST_DEVICE T value(T x) const { return sqrt(x); }
  template <class T> GRADUS_HOST_DEVICE T derivative(T, T y) const { return T(0.5) / y; }
};

struct Tanh {
  template <class T> GRADUS_HOST_DEVICE T value(T x) const { return tanh(x); }
  template <class T> GRADUS_HOST_DEVICE T derivative(T x, T) const { return tanh_slope(x); }
};

struct Sigmoid {
  template <class T> GRADUS_HOST_DEVICE T value(T x) const { return sigmoid(x); }
  template <class T> GRADUS_HOST_DEVICE T derivative(T x, T) const { return sigmoid_slope(x); }
};

/// The slope at 0 is 0.
struct Relu {
  template <class T> GRADUS_HOST_DEVICE T value(T x) const { return x < T(0) ? T(0) : x; }  // a NaN stays
  template <class T> GRADUS_HOST_DEVICE T derivative(T x, T) const { return x > T(0) ? T(1) : T(0); }
};

/// The slope at 0 is 0.
struct Abs {
  template <class T> GRADUS_HOST_DEVICE T value(T x) const { return fabs(x); }
  template <class T> GRADUS_HOST_DEVICE T derivative(T x, T) const { return T(x > T(0)) - T(x < T(0)); }
};

struct Erf {
  template <class T> GRADUS_HOST_DEVICE T value(T x) const { return erf(x); }
  template <class T> GRADUS_HOST_DEVICE T derivative(T x, T) const {
    return T(2 * std::numbers::inv_sqrtpi) * exp(-x * x);
  }
};

/// x Phi(x), with Phi the standard normal distribution function.
struct Gelu {
  template <class T> GRADUS_HOST_DEVICE T value(T x) const {
    return x == -std::numeric_limits<T>::infinity() ? T(0) : x * normal_cdf(x);
  }
  template <class T> GRADUS_HOST_DEVICE T derivative(T x, T) const {
    const NormalPoint<T> normal = normal_point(x);
    const T slope = normal.cdf + x * normal.pdf;
    return fabs(x) == std::numeric_limits<T>::infinity() ? T(x > T(0)) : slope;
  }
};

/// x (1 + tanh u) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3), as x sigmoid(2 u), which does not cancel left of 0.
struct GeluTanh {
  static constexpr double s = 2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi;  // 2 sqrt(2 / pi)
  static constexpr double cubic = 0.044715;
  template <class T> GRADUS_HOST_DEVICE static T twice_u(T x) { return T(s) * (x + T(cubic) * x * x * x); }
  template <class T> GRADUS_HOST_DEVICE T value(T x) const {
    return x == -std::numeric_limits<T>::infinity() ? T(0) : x * sigmoid(twice_u(x));
  }
  template <class T> GRADUS_HOST_DEVICE T derivative(T x, T) const {
    const T v = twice_u(x);
    const T slope = sigmoid(v) + x * sigmoid_slope(v) * (T(s) * (T(1) + T(3 * cubic) * x * x));
    return fabs(x) > T(100) ? T(x > T(0)) : slope;  // x^2 may overflow where the second term is 0 long since
  }
};

struct Pow {
  double exponent;
  template <class T> GRADUS_HOST_DEVICE T value(T x) const {
    if (exponent == 2) return x * x;
    return pow(x, T(exponent));
  }
  template <class T> GRADUS_HOST_DEVICE T derivative(T x, T) const {
    if (exponent == 0) return T(0);
    if (exponent == 2) return T(2) * x;
    return T(exponent) * pow(x, T(exponent - 1));
  }
};

/// The slope is 1 on the closed interval, as at its ends, and 0 outside.
struct Clamp {
  double low, high;
  template <class T> GRADUS_HOST_DEVICE T value(T x) const { return x < T(low) ? T(low) : (x > T(high) ? T(high) : x); }
  template <class T> GRADUS_HOST_DEVICE T derivative(T x, T) const { return x >= T(low) && x <= T(high) ? T(1) : T(0); }
};

// Of two numbers.
struct Add {
  template <class T>
  GRADUS_HOST_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Subtract {
  template <class T>
  GRADUS_HOST_DEVICE T operator()(T a, T b) const {
    return a - b;
  }
};
struct Multiply {
  template <class T>
  GRADUS_HOST_DEVICE T operator()(T a, T b) const {
    return a * b;
  }
};
struct Divide {
  template <class T>
  GRADUS_HOST_DEVICE T operator()(T a, T b) const {
    return a / b;
  }
};
/// NaN where one of the two is.
struct Maximum {
  template <class T>
  GRADUS_HOST_DEVICE T operator()(T a, T b) const {
    return a != a || a > b ? a : b;
  }
};
struct Minimum {
  template <class T>
  GRADUS_HOST_DEVICE T operator()(T a, T b) const {
    return a != a || a < b ? a : b;
  }
};
// Every comparison with NaN is false, but for NotEqual.
struct Equal {
  template <class T>
  GRADUS_HOST_DEVICE bool operator()(T a, T b) const {
    return a == b;
  }
};
struct NotEqual {
  template <class T>
  GRADUS_HOST_DEVICE bool operator()(T a, T b) const {
    return a != b;
  }
};
struct Less {
  template <class T>
  GRADUS_HOST_DEVICE bool operator()(T a, T b) const {
    return a < b;
  }
};
struct LessEqual {
  template <class T>
  GRADUS_HOST_DEVICE bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct Greater {
  template <class T>
  GRADUS_HOST_DEVICE bool operator()(T a, T b) const {
    return a > b;
  }
};
struct GreaterEqual {
  template <class T>
  GRADUS_HOST_DEVICE bool operator()(T a, T b) const {
    return a >= b;
  }
};

}  // namespace gradus::functions
