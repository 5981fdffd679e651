#include <cmath>

#include "framework/kernels/cuda/cross_entropy.h"
#include "framework/kernels/cuda/kernel.h"
#include "framework/kernels/cuda/rows.h"
#include "framework/kernels/shared/scalar_math.h"

namespace gradus::cuda {
namespace {

/// What rows contribute to the mean.
struct Contribution {
  double total, count;
};

template <class A>
__device__ __forceinline__ void write_mean(const Contribution& all, A* loss, std::int64_t* counted) {
  *loss = A(all.total / all.count);
  *counted = static_cast<std::int64_t>(all.count);
}

/// g / counted.
template <class A>
__device__ __forceinline__ A weight_of(const A* g, const std::int64_t* counted) {
  return A(double(*g) / double(*counted));
}

/// The one place where terms cancel, the target's, is rounded once, from what it is made of.
template <class A>
__device__ __forceinline__ A logit_gradient(A logit, A log_sum, bool is_target, A weight) {
  return (functions::exp(logit - log_sum) - A(is_target)) * weight;
}

// One thread for a row.

template <class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    log_sums_naive_kernel(const T* logits, const std::int64_t* targets, std::int64_t ignored, A* log_sums,
                          std::int64_t rows, std::int64_t classes) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const T* x = logits + row * classes;
  A largest = -std::numeric_limits<A>::infinity(), sum = 0;
  for (std::int64_t i = 0; i < classes; ++i) largest = Largest()(largest, A(x[i]));
  for (std::int64_t i = 0; i < classes; ++i) sum += functions::exp(A(x[i]) - largest);
  log_sums[row] = targets[row] == ignored ? A(0) : largest + std::log(sum);
}

template <class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(32)
    mean_naive_kernel(const T* logits, const std::int64_t* targets, std::int64_t ignored, const A* log_sums, A* loss,
                      std::int64_t* counted, std::int64_t rows, std::int64_t classes) {
  if (threadIdx.x > 0) return;
  Contribution all = {0, 0};
  for (std::int64_t row = 0; row < rows; ++row) {
    if (targets[row] == ignored) continue;
    all.total += double(log_sums[row]) - double(logits[row * classes + targets[row]]);
    all.count += 1;
  }
  write_mean(all, loss, counted);
}

template <class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    backward_naive_kernel(const T* logits, const std::int64_t* targets, std::int64_t ignored, const A* log_sums,
                          const std::int64_t* counted, const A* g, T* gradient, std::int64_t rows,
                          std::int64_t classes) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const A weight = weight_of(g, counted);
  for (std::int64_t i = 0; i < classes; ++i) {
    const A logit = A(logits[row * classes + i]);
    const A slope = logit_gradient(logit, log_sums[row], i == targets[row], weight);
    gradient[row * classes + i] = T(targets[row] == ignored ? A(0) : slope);
  }
}

// A warp or a block for a row.

/// log_sums, and partials (blocks, 2): what the rows of each block contribute.
template <class Rows, class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    log_sums_kernel(const T* logits, const std::int64_t* targets, std::int64_t ignored, A* log_sums, double* partials,
                    std::int64_t rows, std::int64_t classes) {
  Contribution own = {0, 0};  // the same in all threads that share a row
  for (std::int64_t i = Rows::first(); i < rows; i += Rows::stride()) {
    const std::int64_t target = targets[i];
    const bool counts = target != ignored;
    // No branch around the folds, which all lanes must reach: an ignored row is an empty one.
    const typename Rows::template Of<T> row(logits + i * classes, counts ? classes : 0);
    const A largest = largest_of<Rows>(row);
    A sum = 0;
    row.for_each([&](auto slot) { sum += functions::exp(row[slot] - largest); });
    sum = Rows::fold(sum, A(0), Plus());
    const A log_sum = counts ? largest + std::log(sum) : A(0);
    if (Rows::leads()) log_sums[i] = log_sum;
    if (!counts) continue;
    own.total += double(log_sum) - double(logits[i * classes + target]);
    own.count += 1;
  }
  const double total = block_sum(Rows::leads() ? own.total : 0.0), count = block_sum(Rows::leads() ? own.count : 0.0);
  if (threadIdx.x > 0) return;
  partials[2 * blockIdx.x] = total;
  partials[2 * blockIdx.x + 1] = count;
}

template <class A>
__global__ void __launch_bounds__(row_threads)
    mean_kernel(const double* partials, std::int64_t blocks, A* loss, std::int64_t* counted) {
  Contribution own = {0, 0};
  for (std::int64_t i = threadIdx.x; i < blocks; i += row_threads) {
    own.total += partials[2 * i];
    own.count += partials[2 * i + 1];
  }
  const Contribution all = {block_sum(own.total), block_sum(own.count)};
  if (threadIdx.x == 0) write_mean(all, loss, counted);
}

template <class Rows, class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    backward_kernel(const T* logits, const std::int64_t* targets, std::int64_t ignored, const A* log_sums,
                    const std::int64_t* counted, const A* g, T* gradient, std::int64_t rows, std::int64_t classes) {
  const A weight = weight_of(g, counted);
  for (std::int64_t i = Rows::first(); i < rows; i += Rows::stride()) {
    const typename Rows::template Of<T> row(logits + i * classes, classes);
    const std::int64_t target = targets[i];
    const A log_sum = log_sums[i];
    row.store_to(gradient + i * classes, [&](auto slot) {
      return target == ignored ? A(0) : logit_gradient(row[slot], log_sum, row.column(slot) == target, weight);
    });
  }
}

/// Of a row, in a lane's registers.
template <class T>
constexpr int most_elements = sizeof(Arithmetic<T>) == 8 ? 4 : 32;

}  // namespace

std::int64_t cross_entropy_partials(std::int64_t rows) { return 2 * row_blocks<BlockRows>(rows); }

template <class T>
void cross_entropy_forward(const T* logits, const std::int64_t* targets, std::int64_t ignored, Arithmetic<T>* loss,
                           Arithmetic<T>* log_sums, std::int64_t* counted, double* partials, std::int64_t rows,
                           std::int64_t classes, Stream stream) {
  std::int64_t blocks = 0;
  if (rows > 0) {
    with_rows<T, most_elements<T>>(classes, [&]<class Rows>() {
      blocks = row_blocks<Rows>(rows);
      launch<log_sums_kernel<Rows, T>>({.blocks = blocks, .threads = row_threads, .stream = stream}, logits, targets,
                                       ignored, log_sums, partials, rows, classes);
    });
  }
  launch<mean_kernel<Arithmetic<T>>>({.blocks = 1, .threads = row_threads, .stream = stream}, partials, blocks, loss,
                                     counted);
}

template <class T>
void cross_entropy_backward(const T* logits, const std::int64_t* targets, std::int64_t ignored,
                            const Arithmetic<T>* log_sums, const std::int64_t* counted, const Arithmetic<T>* g,
                            T* gradient, std::int64_t rows, std::int64_t classes, Stream stream) {
  if (rows == 0 || classes == 0) return;
  with_rows<T, most_elements<T>>(classes, [&]<class Rows>() {
    launch<backward_kernel<Rows, T>>({.blocks = row_blocks<Rows>(rows), .threads = row_threads, .stream = stream},
                                     logits, targets, ignored, log_sums, counted, g, gradient, rows, classes);
  });
}

template <class T>
void cross_entropy_forward_naive(const T* logits, const std::int64_t* targets, std::int64_t ignored,
                                 Arithmetic<T>* loss, Arithmetic<T>* log_sums, std::int64_t* counted, std::int64_t rows,
                                 std::int64_t classes, Stream stream) {
  if (rows > 0) {
    launch<log_sums_naive_kernel<T>>(
        {.blocks = blocks_for(rows, row_threads), .threads = row_threads, .stream = stream}, logits, targets, ignored,
        log_sums, rows, classes);
  }
  launch<mean_naive_kernel<T>>({.blocks = 1, .threads = 32, .stream = stream}, logits, targets, ignored, log_sums, loss,
                               counted, rows, classes);
}

template <class T>
void cross_entropy_backward_naive(const T* logits, const std::int64_t* targets, std::int64_t ignored,
                                  const Arithmetic<T>* log_sums, const std::int64_t* counted, const Arithmetic<T>* g,
                                  T* gradient, std::int64_t rows, std::int64_t classes, Stream stream) {
  if (rows == 0 || classes == 0) return;
  launch<backward_naive_kernel<T>>({.blocks = blocks_for(rows, row_threads), .threads = row_threads, .stream = stream},
                                   logits, targets, ignored, log_sums, counted, g, gradient, rows, classes);
}

#define GRADUS_INSTANTIATE(T, A)                                                                                   \
  template void cross_entropy_forward(const T*, const std::int64_t*, std::int64_t, A*, A*, std::int64_t*, double*, \
                                      std::int64_t, std::int64_t, Stream);                                         \
  template void cross_entropy_backward(const T*, const std::int64_t*, std::int64_t, const A*, const std::int64_t*, \
                                       const A*, T*, std::int64_t, std::int64_t, Stream);                          \
  template void cross_entropy_forward_naive(const T*, const std::int64_t*, std::int64_t, A*, A*, std::int64_t*,    \
                                            std::int64_t, std::int64_t, Stream);                                   \
  template void cross_entropy_backward_naive(const T*, const std::int64_t*, std::int64_t, const A*,                \
                                             const std::int64_t*, const A*, T*, std::int64_t, std::int64_t, Stream);
GRADUS_INSTANTIATE(double, double)
GRADUS_INSTANTIATE(float, float)
GRADUS_INSTANTIATE(bfloat16, float)

}  // namespace gradus::cuda
