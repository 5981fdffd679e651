#include <cmath>

#include "framework/kernels/cuda/reduce.h"
#include "framework/kernels/cuda/reduction_kernels.h"

namespace gradus::cuda {
namespace {

/// (sum of x) / divisor, in Sum.
template <class T, class Sum, class Out>
struct SumFold {
  using Input = T;
  using Accumulator = Sum;
  Out* y;
  Sum divisor;

  __device__ Sum empty() const { return Sum(0); }
  __device__ Sum add(Sum sum, T value, std::int64_t, std::int64_t) const { return sum + Sum(value); }
  __device__ Sum combine(Sum a, Sum b) const { return a + b; }
  __device__ void finish(std::int64_t result, Sum sum) const { y[result] = Out(sum / divisor); }
};

/// (sum of (x - mean)^2) / divisor, in double.
template <class T>
struct DeviationFold {
  using Input = T;
  using Accumulator = double;
  T* y;
  const double* means;
  double divisor;

  __device__ double empty() const { return 0; }
  __device__ double add(double sum, T value, std::int64_t result, std::int64_t) const {
    const double deviation = double(value) - means[result];
    return sum + deviation * deviation;
  }
  __device__ double combine(double a, double b) const { return a + b; }
  __device__ void finish(std::int64_t result, double sum) const { y[result] = T(sum / divisor); }
};

template <class T, class Out>
__global__ void __launch_bounds__(128) sum_naive_kernel(Out* y, const T* x, StridedAxes kept, StridedAxes reduced) {
  const std::int64_t result = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (result >= kept.count) return;
  const T* of_result = x + kept.offset(result);
  Arithmetic<T> sum = 0;
  for (std::int64_t i = 0; i < reduced.count; ++i) sum += Arithmetic<T>(of_result[reduced.offset(i)]);
  y[result] = Out(sum);
}

template <class T>
__global__ void __launch_bounds__(256) find_not_finite_kernel(std::int32_t* found, const T* x, std::int64_t count) {
  using Number = Arithmetic<T>;
  const std::int64_t stride = std::int64_t{gridDim.x} * blockDim.x;
  bool not_finite = false;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) {
    not_finite |= !(Number(x[i]) * Number(0) == Number(0));
  }
  if (__any_sync(all_lanes, not_finite) && threadIdx.x % 32 == 0) atomicMax(found, 1);
}

template <class T, class Out>
void divided_sum(Out* y, const T* x, const ReductionPlan& plan, std::int64_t divisor, void* workspace, Stream stream) {
  using Sum = Arithmetic<T>;
  run_reduction<widest_pack<T>>(SumFold<T, Sum, Out>{y, static_cast<Sum>(divisor)}, x, plan, workspace, stream);
}

}  // namespace

template <class T, class Out>
void sum(Out* y, const T* x, const ReducedAxes& axes, void* workspace, Stream stream) {
  divided_sum(y, x, plan_reduction(axes), 1, workspace, stream);
}

template <class T>
std::size_t sum_workspace_bytes(const ReducedAxes& axes) {
  return bytes_of_chunks(plan_reduction(axes), sizeof(Arithmetic<T>));
}

template <class T, class Out>
void mean(Out* y, const T* x, const ReducedAxes& axes, void* workspace, Stream stream) {
  const ReductionPlan plan = plan_reduction(axes);
  divided_sum(y, x, plan, plan.reduced.count, workspace, stream);
}

template <class T>
void variance(T* y, const T* x, const ReducedAxes& axes, double correction, void* workspace, Stream stream) {
  const ReductionPlan plan = plan_reduction(axes);
  const double count = static_cast<double>(plan.reduced.count);
  double* means = static_cast<double*>(workspace);
  double* chunks = means + plan.kept.count;
  run_reduction<1>(SumFold<T, double, double>{means, count}, x, plan, chunks, stream);
  run_reduction<1>(DeviationFold<T>{y, means, std::max(0.0, count - correction)}, x, plan, chunks, stream);
}

std::size_t variance_workspace_bytes(const ReducedAxes& axes) {
  const ReductionPlan plan = plan_reduction(axes);
  return plan.kept.count * sizeof(double) + bytes_of_chunks(plan, sizeof(double));
}

template <class T, class Out>
void sum_naive(Out* y, const T* x, const ReducedAxes& axes, Stream stream) {
  const ReductionPlan plan = plan_reduction(axes);
  if (plan.kept.count == 0) return;
  launch<sum_naive_kernel<T, Out>>({.blocks = blocks_for(plan.kept.count, 128), .threads = 128, .stream = stream}, y, x,
                                   plan.kept, plan.reduced);
}

template <class T>
void find_not_finite(std::int32_t* found, const T* x, std::int64_t count, Stream stream) {
  if (count == 0) return;
  const std::int64_t blocks = std::min<std::int64_t>(blocks_for(count, 1024), 1024);
  launch<find_not_finite_kernel<T>>({.blocks = blocks, .threads = 256, .stream = stream}, found, x, count);
}

#define GRADUS_INSTANTIATE_SUM(T, Out)                                  \
  template void sum(Out*, const T*, const ReducedAxes&, void*, Stream); \
  template void sum_naive(Out*, const T*, const ReducedAxes&, Stream);
GRADUS_INSTANTIATE_SUM(double, double)
GRADUS_INSTANTIATE_SUM(float, float)
GRADUS_INSTANTIATE_SUM(bfloat16, bfloat16)
GRADUS_INSTANTIATE_SUM(bfloat16, float)
GRADUS_INSTANTIATE_SUM(std::int64_t, std::int64_t)
#undef GRADUS_INSTANTIATE_SUM
template std::size_t sum_workspace_bytes<std::int64_t>(const ReducedAxes&);
template void mean(float*, const bfloat16*, const ReducedAxes&, void*, Stream);

#define GRADUS_INSTANTIATE_FLOATING(T)                                             \
  template std::size_t sum_workspace_bytes<T>(const ReducedAxes&);                 \
  template void mean(T*, const T*, const ReducedAxes&, void*, Stream);             \
  template void variance(T*, const T*, const ReducedAxes&, double, void*, Stream); \
  template void find_not_finite(std::int32_t*, const T*, std::int64_t, Stream);
GRADUS_INSTANTIATE_FLOATING(double)
GRADUS_INSTANTIATE_FLOATING(float)
GRADUS_INSTANTIATE_FLOATING(bfloat16)
#undef GRADUS_INSTANTIATE_FLOATING

}  // namespace gradus::cuda
