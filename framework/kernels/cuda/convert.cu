#include "framework/kernels/cuda/elementwise.h"
#include "framework/kernels/cuda/map.cuh"
#include "framework/kernels/shared/convert.h"

namespace gradus::cuda {
namespace {

template <class To, class From>
struct Conversion {
  GRADUS_HOST_DEVICE To operator()(From value) const { return functions::convert<To>(value); }
};

template <class T>
struct Constant {
  T value;
  GRADUS_HOST_DEVICE T operator()() const { return value; }
};

}  // namespace

template <class T>
void fill(T* to, std::int64_t count, T value, Stream stream) {
  map(Constant<T>{value}, Space{.axes = 1, .sizes = {count}, .elements = count}, stream, Strided<T>{to, {1}});
}

template <class To, class From>
void convert(const Space& space, Strided<To> to, Strided<const From> from, Stream stream) {
  map(Conversion<To, From>{}, space, stream, to, from);
}

#define GRADUS_CONVERT(To, From) template void convert(const Space&, Strided<To>, Strided<const From>, Stream);
#define GRADUS_CONVERT_TO(To)                        \
  template void fill(To*, std::int64_t, To, Stream); \
  GRADUS_CONVERT(To, double)                         \
  GRADUS_CONVERT(To, float)                          \
  GRADUS_CONVERT(To, bfloat16)                       \
  GRADUS_CONVERT(To, std::int64_t)                   \
  GRADUS_CONVERT(To, std::int32_t)                   \
  GRADUS_CONVERT(To, std::uint8_t)                   \
  GRADUS_CONVERT(To, bool)
GRADUS_CONVERT_TO(double)
GRADUS_CONVERT_TO(float)
GRADUS_CONVERT_TO(bfloat16)
GRADUS_CONVERT_TO(std::int64_t)
GRADUS_CONVERT_TO(std::int32_t)
GRADUS_CONVERT_TO(std::uint8_t)
GRADUS_CONVERT_TO(bool)
#undef GRADUS_CONVERT_TO
#undef GRADUS_CONVERT

}  // namespace gradus::cuda
