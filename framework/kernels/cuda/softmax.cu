#include <cmath>

#include "framework/kernels/cuda/kernel.h"
#include "framework/kernels/cuda/rows.h"
#include "framework/kernels/cuda/softmax.h"
#include "framework/kernels/shared/scalar_math.h"

namespace gradus::cuda {
namespace {

/// y of one element, given the row's largest and the sum of e^(x - largest).
template <bool logarithm, class A>
struct Outcome {
  A largest, last;

  __device__ __forceinline__ Outcome(A largest, A sum)
      : largest(largest), last(logarithm ? std::log(sum) : A(1) / sum) {}
  __device__ __forceinline__ A of(A x) const {
    return logarithm ? (x - largest) - last : functions::exp(x - largest) * last;
  }
};

/// The term of one element in the sum that all gradients of its row need.
template <bool logarithm, class A>
__device__ __forceinline__ A gradient_term(A y, A g) {
  return logarithm ? g : g * y;
}

template <bool logarithm, class A>
__device__ __forceinline__ A gradient(A y, A g, A sum) {
  return logarithm ? g - functions::exp(y) * sum : y * (g - sum);
}

// One thread for a row.

template <bool logarithm, class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    forward_naive_kernel(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  x += row * n;
  y += row * n;
  A largest = -std::numeric_limits<A>::infinity(), sum = 0;
  for (std::int64_t i = 0; i < n; ++i) largest = Largest()(largest, A(x[i]));
  for (std::int64_t i = 0; i < n; ++i) sum += functions::exp(A(x[i]) - largest);
  const Outcome<logarithm, A> outcome(largest, sum);
  for (std::int64_t i = 0; i < n; ++i) y[i] = T(outcome.of(A(x[i])));
}

template <bool logarithm, class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    backward_naive_kernel(const T* y, const T* g, T* dx, std::int64_t rows, std::int64_t n) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  y += row * n;
  g += row * n;
  A sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += gradient_term<logarithm>(A(y[i]), A(g[i]));
  for (std::int64_t i = 0; i < n; ++i) dx[row * n + i] = T(gradient<logarithm>(A(y[i]), A(g[i]), sum));
}

// A warp or a block for a row.

template <bool logarithm, class Rows, class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads) forward_kernel(const T* x, T* y, std::int64_t rows, std::int64_t n) {
  for (std::int64_t i = Rows::first(); i < rows; i += Rows::stride()) {
    const typename Rows::template Of<T> row(x + i * n, n);
    const A largest = largest_of<Rows>(row);
    A sum = 0;
    row.for_each([&](auto slot) { sum += functions::exp(row[slot] - largest); });
    const Outcome<logarithm, A> outcome(largest, Rows::fold(sum, A(0), Plus()));
    row.store_to(y + i * n, [&](auto slot) { return outcome.of(row[slot]); });
  }
}

template <bool logarithm, class Rows, class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    backward_kernel(const T* y, const T* g, T* dx, std::int64_t rows, std::int64_t n) {
  for (std::int64_t i = Rows::first(); i < rows; i += Rows::stride()) {
    const typename Rows::template Of<T> row(y + i * n, n), up(g + i * n, n);
    A sum = 0;
    row.for_each([&](auto slot) { sum += gradient_term<logarithm>(row[slot], up[slot]); });
    sum = Rows::fold(sum, A(0), Plus());
    row.store_to(dx + i * n, [&](auto slot) { return gradient<logarithm>(row[slot], up[slot], sum); });
  }
}

/// Of a row, in a lane's registers.
template <class T>
constexpr int most_elements = sizeof(Arithmetic<T>) == 8 ? 8 : 32;

template <bool logarithm, class T>
void forward(const T* x, T* y, std::int64_t rows, std::int64_t n, Stream stream) {
  with_rows<T, most_elements<T>>(n, [&]<class Rows>() {
    launch<forward_kernel<logarithm, Rows, T>>(
        {.blocks = row_blocks<Rows>(rows), .threads = row_threads, .stream = stream}, x, y, rows, n);
  });
}

template <bool logarithm, class T>
void backward(const T* y, const T* g, T* dx, std::int64_t rows, std::int64_t n, Stream stream) {
  with_rows<T, most_elements<T>>(n, [&]<class Rows>() {
    launch<backward_kernel<logarithm, Rows, T>>(
        {.blocks = row_blocks<Rows>(rows), .threads = row_threads, .stream = stream}, y, g, dx, rows, n);
  });
}

}  // namespace

template <class T>
void softmax_forward(const T* x, T* y, std::int64_t rows, std::int64_t n, bool logarithm, Stream stream) {
  if (rows == 0 || n == 0) return;
  (logarithm ? forward<true, T> : forward<false, T>)(x, y, rows, n, stream);
}

template <class T>
void softmax_backward(const T* y, const T* g, T* dx, std::int64_t rows, std::int64_t n, bool logarithm, Stream stream) {
  if (rows == 0 || n == 0) return;
  (logarithm ? backward<true, T> : backward<false, T>)(y, g, dx, rows, n, stream);
}

template <class T>
void softmax_forward_naive(const T* x, T* y, std::int64_t rows, std::int64_t n, bool logarithm, Stream stream) {
  if (rows == 0 || n == 0) return;
  const LaunchShape shape = {.blocks = blocks_for(rows, row_threads), .threads = row_threads, .stream = stream};
  if (logarithm) {
    launch<forward_naive_kernel<true, T>>(shape, x, y, rows, n);
  } else {
    launch<forward_naive_kernel<false, T>>(shape, x, y, rows, n);
  }
}

template <class T>
void softmax_backward_naive(const T* y, const T* g, T* dx, std::int64_t rows, std::int64_t n, bool logarithm,
                            Stream stream) {
  if (rows == 0 || n == 0) return;
  const LaunchShape shape = {.blocks = blocks_for(rows, row_threads), .threads = row_threads, .stream = stream};
  if (logarithm) {
    launch<backward_naive_kernel<true, T>>(shape, y, g, dx, rows, n);
  } else {
    launch<backward_naive_kernel<false, T>>(shape, y, g, dx, rows, n);
  }
}

#define GRADUS_INSTANTIATE(T)                                                                       \
  template void softmax_forward(const T*, T*, std::int64_t, std::int64_t, bool, Stream);            \
  template void softmax_backward(const T*, const T*, T*, std::int64_t, std::int64_t, bool, Stream); \
  template void softmax_forward_naive(const T*, T*, std::int64_t, std::int64_t, bool, Stream);      \
  template void softmax_backward_naive(const T*, const T*, T*, std::int64_t, std::int64_t, bool, Stream);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)

}  // namespace gradus::cuda
