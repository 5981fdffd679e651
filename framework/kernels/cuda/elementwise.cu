#include "framework/kernels/cuda/elementwise.h"
#include "framework/kernels/cuda/map.cuh"

namespace gradus::cuda {
namespace {

template <class T, class Function>
struct Value {
  Function f;
  GRADUS_HOST_DEVICE T operator()(T x) const { return T(f.value(Arithmetic<T>(x))); }
};

template <class T, class Function>
struct Slope {
  Function f;
  GRADUS_HOST_DEVICE T operator()(T g, T point) const {
    using A = Arithmetic<T>;
    return T(A(g) * f.derivative(A(point), A(point)));
  }
};

template <class Out, class T, class Function>
struct Pair {
  Function f;
  GRADUS_HOST_DEVICE Out operator()(T a, T b) const { return Out(f(Arithmetic<T>(a), Arithmetic<T>(b))); }
};

template <class T>
struct Choice {
  GRADUS_HOST_DEVICE T operator()(bool condition, T a, T b) const { return condition ? a : b; }
};

}  // namespace

template <class T, class Function>
void map_values(const Function& f, const Space& space, Strided<T> y, Strided<const T> x, Stream stream) {
  map(Value<T, Function>{f}, space, stream, y, x);
}

template <class T, class Function>
void map_slopes(const Function& f, const Space& space, Strided<T> dx, Strided<const T> g, Strided<const T> point,
                Stream stream) {
  map(Slope<T, Function>{f}, space, stream, dx, g, point);
}

template <class Out, class T, class Function>
void map_pairs(const Function& f, const Space& space, Strided<Out> out, Strided<const T> a, Strided<const T> b,
               Stream stream) {
  map(Pair<Out, T, Function>{f}, space, stream, out, a, b);
}

template <class T>
void choose(const Space& space, Strided<T> out, Strided<const bool> condition, Strided<const T> a, Strided<const T> b,
            Stream stream) {
  map(Choice<T>{}, space, stream, out, condition, a, b);
}

#define GRADUS_FOR_TYPES(MACRO, Function) MACRO(Function, double) MACRO(Function, float) MACRO(Function, bfloat16)

#define GRADUS_UNARY(Function, T)                                                                                    \
  template void map_values(const functions::Function&, const Space&, Strided<T>, Strided<const T>, Stream);          \
  template void map_slopes(const functions::Function&, const Space&, Strided<T>, Strided<const T>, Strided<const T>, \
                           Stream);
GRADUS_FOR_TYPES(GRADUS_UNARY, Neg)
GRADUS_FOR_TYPES(GRADUS_UNARY, Exp)
GRADUS_FOR_TYPES(GRADUS_UNARY, Log)
GRADUS_FOR_TYPES(GRADUS_UNARY, Sqrt)
GRADUS_FOR_TYPES(GRADUS_UNARY, Tanh)
GRADUS_FOR_TYPES(GRADUS_UNARY, Sigmoid)
GRADUS_FOR_TYPES(GRADUS_UNARY, Relu)
GRADUS_FOR_TYPES(GRADUS_UNARY, Abs)
GRADUS_FOR_TYPES(GRADUS_UNARY, Erf)
GRADUS_FOR_TYPES(GRADUS_UNARY, Gelu)
GRADUS_FOR_TYPES(GRADUS_UNARY, GeluTanh)
GRADUS_FOR_TYPES(GRADUS_UNARY, Pow)
GRADUS_FOR_TYPES(GRADUS_UNARY, Clamp)
#undef GRADUS_UNARY

#define GRADUS_PAIR(Function, T)                                                                                    \
  template void map_pairs(const functions::Function&, const Space&, Strided<T>, Strided<const T>, Strided<const T>, \
                          Stream);
GRADUS_FOR_TYPES(GRADUS_PAIR, Add)
GRADUS_FOR_TYPES(GRADUS_PAIR, Subtract)
GRADUS_FOR_TYPES(GRADUS_PAIR, Multiply)
GRADUS_FOR_TYPES(GRADUS_PAIR, Divide)
GRADUS_FOR_TYPES(GRADUS_PAIR, Maximum)
GRADUS_FOR_TYPES(GRADUS_PAIR, Minimum)
#undef GRADUS_PAIR

#define GRADUS_COMPARISON(Function, T)                                                                                 \
  template void map_pairs(const functions::Function&, const Space&, Strided<bool>, Strided<const T>, Strided<const T>, \
                          Stream);
#define GRADUS_COMPARISONS(Function) \
  GRADUS_FOR_TYPES(GRADUS_COMPARISON, Function) GRADUS_COMPARISON(Function, std::int64_t)
GRADUS_COMPARISONS(Equal)
GRADUS_COMPARISONS(NotEqual)
GRADUS_COMPARISONS(Less)
GRADUS_COMPARISONS(LessEqual)
GRADUS_COMPARISONS(Greater)
GRADUS_COMPARISONS(GreaterEqual)
#undef GRADUS_COMPARISONS
#undef GRADUS_COMPARISON
#undef GRADUS_FOR_TYPES

#define GRADUS_CHOICE(T) \
  template void choose(const Space&, Strided<T>, Strided<const bool>, Strided<const T>, Strided<const T>, Stream);
GRADUS_CHOICE(std::uint8_t)
GRADUS_CHOICE(std::uint16_t)
GRADUS_CHOICE(std::uint32_t)
GRADUS_CHOICE(std::uint64_t)
#undef GRADUS_CHOICE

}  // namespace gradus::cuda
