// Element-wise kernels: out[i] = f(in1[i], in2[i], ...) over strided operands, in which a stride of 0 repeats an
// element. An output must not overlap an input unless both walk the same elements in the same order.
#pragma once

#include <cstdint>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/launch.h"
#include "framework/kernels/shared/scalar_functions.h"

namespace gradus::cuda {

/// Where a kernel goes: the sizes of the axes, the last one innermost.
struct Space {
  static constexpr int most_axes = 8;
  int axes = 0;
  std::int64_t sizes[most_axes] = {};
  std::int64_t elements = 0;
};

/// An operand: element (i, j, ...) is data[i strides[0] + j strides[1] + ...].
template <class T>
struct Strided {
  T* data;
  std::int64_t strides[Space::most_axes] = {};
};

/// y = f(x), computed in f32 for bf16. For f64, f32, bf16, and the functions of one number in scalar_functions.h.
template <class T, class Function>
void map_values(const Function& f, const Space& space, Strided<T> y, Strided<const T> x, Stream stream);

/// dx = g f'(point), with `point` the input or the output of f, whichever the derivative is a function of.
template <class T, class Function>
void map_slopes(const Function& f, const Space& space, Strided<T> dx, Strided<const T> g, Strided<const T> point,
                Stream stream);

/// out = f(a, b). For the functions of two numbers: numbers of f64, f32, bf16; comparisons also of i64, to bool.
template <class Out, class T, class Function>
void map_pairs(const Function& f, const Space& space, Strided<Out> out, Strided<const T> a, Strided<const T> b,
               Stream stream);

/// out = condition ? a : b, of elements with the size of T: an unsigned integer of 1, 2, 4 or 8 bytes.
template <class T>
void choose(const Space& space, Strided<T> out, Strided<const bool> condition, Strided<const T> a, Strided<const T> b,
            Stream stream);

/// Each of `count` elements gets the value.
template <class T>
void fill(T* to, std::int64_t count, T value, Stream stream);

/// to = from, converted: float to integer truncates; anything to bool is `!= 0`. Between all seven dtypes.
template <class To, class From>
void convert(const Space& space, Strided<To> to, Strided<const From> from, Stream stream);

}  // namespace gradus::cuda
