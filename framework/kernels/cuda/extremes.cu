#include <cmath>
#include <limits>

#include "framework/kernels/cuda/extremes.h"
#include "framework/kernels/cuda/reduction_kernels.h"

namespace gradus::cuda {
namespace {

template <class T>
struct Found {
  T value;
  std::int64_t index;
};

template <class T>
__device__ __forceinline__ Found<T> from_opposite_lane(Found<T> found, int distance) {
  return {cuda::from_opposite_lane(found.value, distance), cuda::from_opposite_lane(found.index, distance)};
}

/// One order of all elements: NaN before numbers, larger before smaller, among equals the first. So no order of the
/// fold changes what wins.
template <class T>
struct LargestFold {
  using Input = T;
  using Number = Arithmetic<T>;
  using Accumulator = Found<Number>;
  T* values;
  std::int64_t* indices;

  /// Behind every element.
  __device__ Accumulator empty() const {
    return {-std::numeric_limits<Number>::infinity(), std::numeric_limits<std::int64_t>::max()};
  }
  __device__ Accumulator combine(Accumulator a, Accumulator b) const {
    const bool a_is_nan = a.value != a.value, b_is_nan = b.value != b.value;
    const bool equal = a.value == b.value || (a_is_nan && b_is_nan);
    const bool b_wins = equal ? b.index < a.index : !a_is_nan && (b_is_nan || b.value > a.value);
    return b_wins ? b : a;
  }
  __device__ Accumulator add(Accumulator found, T value, std::int64_t, std::int64_t index) const {
    return combine(found, {Number(value), index});
  }
  __device__ void finish(std::int64_t result, Accumulator found) const {
    if (values) values[result] = T(found.value);
    indices[result] = found.index;
  }
};

}  // namespace

template <class T>
void largest(T* values, std::int64_t* indices, const T* x, const ReducedAxes& axes, void* workspace, Stream stream) {
  run_reduction<1>(LargestFold<T>{values, indices}, x, plan_reduction(axes), workspace, stream);
}

template <class T>
std::size_t largest_workspace_bytes(const ReducedAxes& axes) {
  return bytes_of_chunks(plan_reduction(axes), sizeof(typename LargestFold<T>::Accumulator));
}

#define GRADUS_INSTANTIATE(T)                                                            \
  template void largest(T*, std::int64_t*, const T*, const ReducedAxes&, void*, Stream); \
  template std::size_t largest_workspace_bytes<T>(const ReducedAxes&);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::cuda
