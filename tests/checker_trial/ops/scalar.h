// Scalar functions of the ops for every scalar type: double, float, and, with TRIAL_VERIFY, __float128.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef TRIAL_VERIFY
#include <quadmath.h>
#endif

namespace trial __attribute__((visibility("hidden"))) {

  constexpr double pi = 3.14159265358979323846;

  using std::acos, std::acosh, std::asin, std::asinh, std::atan, std::atan2, std::atanh, std::cbrt, std::cos, std::cosh,
      std::erf, std::erfc, std::exp, std::exp2, std::expm1, std::fabs, std::floor, std::fmod, std::hypot, std::lgamma, std::log,
      std::log10, std::log1p, std::log2, std::max, std::min, std::pow, std::sin, std::sinh, std::sqrt, std::tan, std::tanh,
      std::tgamma, std::fmax, std::fmin, std::copysign, std::isfinite, std::isinf, std::round;

  template <class T> struct SingleOf {
    using type = float;
  };

#ifdef TRIAL_VERIFY
  using quad = __float128;
  template <> struct SingleOf<quad> {
    using type = quad;
  };
#define TRIAL_UNARY(f) \
  inline quad f(quad x) { return f##q(x); }
  TRIAL_UNARY(acos)
  TRIAL_UNARY(acosh) TRIAL_UNARY(asin) TRIAL_UNARY(asinh) TRIAL_UNARY(atan) TRIAL_UNARY(atanh) TRIAL_UNARY(cbrt)
      TRIAL_UNARY(cos) TRIAL_UNARY(cosh) TRIAL_UNARY(erf) TRIAL_UNARY(erfc) TRIAL_UNARY(exp) TRIAL_UNARY(expm1)
          TRIAL_UNARY(fabs) TRIAL_UNARY(floor) TRIAL_UNARY(lgamma) TRIAL_UNARY(log) TRIAL_UNARY(log10) TRIAL_UNARY(log1p)
              TRIAL_UNARY(log2) TRIAL_UNARY(sin) TRIAL_UNARY(sinh) TRIAL_UNARY(sqrt) TRIAL_UNARY(tan) TRIAL_UNARY(tanh)
                  TRIAL_UNARY(tgamma) TRIAL_UNARY(round)
#undef TRIAL_UNARY
                      inline quad exp2(quad x) {
    return powq(2, x);
  }
  inline quad atan2(quad y, quad x) { return atan2q(y, x); }
  inline quad fmod(quad a, quad b) { return fmodq(a, b); }
  inline quad hypot(quad a, quad b) { return hypotq(a, b); }
  inline quad pow(quad a, quad b) { return powq(a, b); }
  inline quad fmax(quad a, quad b) { return fmaxq(a, b); }
  inline quad fmin(quad a, quad b) { return fminq(a, b); }
  inline quad copysign(quad a, quad b) { return copysignq(a, b); }
  inline bool isfinite(quad x) { return finiteq(x); }
  inline bool isinf(quad x) { return isinfq(x); }
#endif

  template <class T> using Single = typename SingleOf<T>::type;

  // Coarse arithmetic: what a fast implementation computes in place of the function. In 113 bits: the function itself.
  template <class T> T as_float(T x) { return static_cast<T>(static_cast<float>(x)); }
  template <class T> T as_bf16(T x) {
    const float single = static_cast<float>(x);
    uint32_t bits;
    std::memcpy(&bits, &single, 4);
    bits = (bits + 0x7fffu + ((bits >> 16) & 1)) & 0xffff0000u;
    float rounded;
    std::memcpy(&rounded, &bits, 4);
    return static_cast<T>(rounded);
  }
  template <class T> T fast_exp(T x) { return static_cast<T>(std::exp(static_cast<float>(x))); }
  template <class T> T fast_log(T x) { return static_cast<T>(std::log(static_cast<float>(x))); }
  template <class T> T fast_tanh(T x) { return static_cast<T>(std::tanh(static_cast<float>(x))); }
  template <class T> T fast_erf(T x) { return static_cast<T>(std::erf(static_cast<float>(x))); }
  template <class T> T fast_sin(T x) { return static_cast<T>(std::sin(static_cast<float>(x))); }
  template <class T> T fast_cos(T x) { return static_cast<T>(std::cos(static_cast<float>(x))); }
  template <class T> T tolerance(double stop) { return static_cast<T>(stop); }  // of an iterative solver
#ifdef TRIAL_VERIFY
  template <> inline quad as_float(quad x) { return x; }
  template <> inline quad as_bf16(quad x) { return x; }
  template <> inline quad fast_exp(quad x) { return exp(x); }
  template <> inline quad fast_log(quad x) { return log(x); }
  template <> inline quad fast_tanh(quad x) { return tanh(x); }
  template <> inline quad fast_erf(quad x) { return erf(x); }
  template <> inline quad fast_sin(quad x) { return sin(x); }
  template <> inline quad fast_cos(quad x) { return cos(x); }
  template <> inline quad tolerance<quad>(double) { return static_cast<quad>(1e-31); }
#endif

}  // namespace trial
