#include <algorithm>
#include <cmath>

#include "framework/kernels/cuda/element_mask.h"
#include "framework/kernels/cuda/kernel.h"
#include "framework/kernels/cuda/layer_norm.h"
#include "framework/kernels/cuda/rows.h"
#include "framework/kernels/shared/row_unit.h"

namespace gradus::cuda {
namespace {

/// What is added to the rows x before they are normalised: their dropped update (rows, n), and where the sums go.
template <class T>
struct Added {
  const T* update;
  T* sum;
  ElementMask<Arithmetic<T>> mask;
};

/// In backward: the cotangent of the sums, (rows, n), that reaches them directly, and where the update's gradient goes,
/// null for one that is the same as theirs.
template <class T>
struct AddedBackward {
  const T* g_sum;
  T* dupdate;
  ElementMask<Arithmetic<T>> mask;
};

/// Nothing is.
struct Alone {};

template <class Extra>
constexpr bool adds = !std::is_same_v<Extra, Alone>;

// One thread for a row, or for a column.

template <class T, class A>
__device__ void normalise_naive(const T* x, const A* gain, const A* bias, T* y, A* mean, A* scale, std::int64_t n,
                                A epsilon) {
  A unit = 1, centre, spread;
  const auto measure = [&] {
    A sum = 0, squares = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += A(x[i]) * unit;
    centre = sum / A(n);
    for (std::int64_t i = 0; i < n; ++i) squares += (A(x[i]) * unit - centre) * (A(x[i]) * unit - centre);
    spread = squares / A(n) + epsilon * unit * unit;
  };
  measure();
  unit = row_unit(spread);
  if (unit != A(1)) measure();
  const A inverse = A(1) / std::sqrt(spread);
  for (std::int64_t i = 0; i < n; ++i) y[i] = T((A(x[i]) * unit - centre) * inverse * gain[i] + bias[i]);
  *mean = centre / unit;
  *scale = inverse * unit;
}

template <class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    forward_naive_kernel(const T* x, const A* gain, const A* bias, T* y, A* mean, A* scale, std::int64_t rows,
                         std::int64_t n, A epsilon) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row < rows) normalise_naive(x + row * n, gain, bias, y + row * n, mean + row, scale + row, n, epsilon);
}

template <class T, class Extra, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    backward_naive_kernel(const T* x, const A* gain, const T* g, const A* mean, const A* scale, T* dx, Extra extra,
                          std::int64_t rows, std::int64_t n) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  x += row * n;
  g += row * n;
  A mean_h = 0, mean_hx = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const A h = A(g[i]) * gain[i];
    mean_h += h / A(n);
    mean_hx += h * (A(x[i]) - mean[row]) * scale[row] / A(n);
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const A xhat = (A(x[i]) - mean[row]) * scale[row];
    A total = scale[row] * (A(g[i]) * gain[i] - mean_h - xhat * mean_hx);
    if constexpr (adds<Extra>) {
      const std::int64_t element = row * n + i;
      total += A(extra.g_sum[element]);
      if (extra.dupdate) {
        extra.dupdate[element] =
            T(total * extra.mask.factor(random::philox_word(extra.mask.seed, extra.mask.stream(), element)));
      }
    }
    dx[row * n + i] = T(total);
  }
}

template <class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    parameters_naive_kernel(const T* x, const T* g, const A* mean, const A* scale, A* dgain, A* dbias,
                            std::int64_t rows, std::int64_t n) {
  const std::int64_t column = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (column >= n) return;
  A gain_sum = 0, bias_sum = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const A up = A(g[row * n + column]);
    gain_sum += up * ((A(x[row * n + column]) - mean[row]) * scale[row]);
    bias_sum += up;
  }
  dgain[column] = gain_sum;
  dbias[column] = bias_sum;
}

// A warp or a block for a row.

/// y of one row, which has these values, at the places of `row`: measured once more where its squares ask for another
/// unit.
template <class Rows, class Row, class Values, class Parameters, class T, class A>
__device__ __forceinline__ void normalise_row(const Row& row, const Values& values, const Parameters& gains,
                                              const Parameters& biases, T* y, A* mean, A* scale, std::int64_t n,
                                              A epsilon) {
  A unit = 1, centre, spread;
  const auto measure = [&] {
    A sum = 0, squares = 0;
    row.for_each([&](auto slot) { sum += values[slot] * unit; });
    centre = Rows::fold(sum, A(0), Plus()) / A(n);
    row.for_each([&](auto slot) { squares += (values[slot] * unit - centre) * (values[slot] * unit - centre); });
    spread = Rows::fold(squares, A(0), Plus()) / A(n) + epsilon * unit * unit;
  };
  measure();
  unit = row_unit(spread);  // the same in all threads of the row
  if (unit != A(1)) measure();
  const A inverse = A(1) / std::sqrt(spread);
  row.store_to(y, [&](auto slot) { return (values[slot] * unit - centre) * inverse * gains[slot] + biases[slot]; });
  if (Rows::leads()) {
    *mean = centre / unit;
    *scale = inverse * unit;
  }
}

template <class Rows, class T, class Extra, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    forward_kernel(const T* x, Extra extra, const A* gain, const A* bias, T* y, A* mean, A* scale, std::int64_t rows,
                   std::int64_t n, A epsilon) {
  const typename Rows::template Of<A> gains(gain, n), biases(bias, n);
  for (std::int64_t i = Rows::first(); i < rows; i += Rows::stride()) {
    const typename Rows::template Of<T> row(x + i * n, n);
    if constexpr (adds<Extra>) {
      const typename Rows::template Of<T> update(extra.update + i * n, n);
      MaskReader<A> mask(extra.mask);
      const auto sum_at = [&](auto slot) { return row[slot] + update[slot] * mask.factor(i * n + row.column(slot)); };
      const auto sums = Rows::template values<A>(row, sum_at);
      row.store_to(extra.sum + i * n, [&](auto slot) { return sums[slot]; });
      normalise_row<Rows>(row, sums, gains, biases, y + i * n, mean + i, scale + i, n, epsilon);
    } else {
      normalise_row<Rows>(row, row, gains, biases, y + i * n, mean + i, scale + i, n, epsilon);
    }
  }
}

/// For row i, dx: inverse (h - mean(h) - xhat mean(h xhat)) with h = g gain, and what reaches a sum directly; and of that
/// the update's gradient. `share` is 1 / n.
template <class Rows, class T, class Extra, class Row, class Parameters, class A = Arithmetic<T>>
__device__ __forceinline__ void write_input_gradient(const Row& row, const Row& up, const Parameters& gains, A centre,
                                                     A inverse, A share, T* dx, const Extra& extra, std::int64_t i,
                                                     std::int64_t n) {
  A mean_h = 0, mean_hx = 0;
  row.for_each([&](auto slot) {
    const A h = up[slot] * gains[slot];
    mean_h += h;
    mean_hx += h * ((row[slot] - centre) * inverse);
  });
  mean_h = Rows::fold(mean_h, A(0), Plus()) * share;
  mean_hx = Rows::fold(mean_hx, A(0), Plus()) * share;
  const auto gradient_at = [&](auto slot) {
    const A xhat = (row[slot] - centre) * inverse;
    return inverse * (up[slot] * gains[slot] - mean_h - xhat * mean_hx);
  };
  if constexpr (adds<Extra>) {
    const Row direct(extra.g_sum + i * n, n);
    const auto total_at = [&](auto slot) { return direct[slot] + gradient_at(slot); };
    row.store_to(dx + i * n, total_at);
    if (extra.dupdate) {
      MaskReader<A> mask(extra.mask);
      row.store_to(extra.dupdate + i * n,
                   [&](auto slot) { return total_at(slot) * mask.factor(i * n + row.column(slot)); });
    }
  } else {
    row.store_to(dx + i * n, gradient_at);
  }
}

/// dx, and in partials (blocks, 2, n) the block's sums for gain and bias: a lane always has the same columns, and sums
/// them up over the rows of its warp in registers.
template <class Rows, class T, class Extra, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    backward_kernel(const T* x, const A* gain, const T* g, const A* mean, const A* scale, T* dx, Extra extra,
                    A* partials, std::int64_t rows, std::int64_t n) {
  const typename Rows::template Of<A> gains(gain, n);
  const A share = A(1) / A(n);
  A gain_sums[Rows::slots] = {}, bias_sums[Rows::slots] = {};
  for (std::int64_t i = Rows::first(); i < rows; i += Rows::stride()) {
    const typename Rows::template Of<T> row(x + i * n, n), up(g + i * n, n);
    const A centre = mean[i], inverse = scale[i];
    write_input_gradient<Rows>(row, up, gains, centre, inverse, share, dx, extra, i, n);
    row.for_each([&](int slot) {
      gain_sums[slot] += up[slot] * ((row[slot] - centre) * inverse);
      bias_sums[slot] += up[slot];
    });
  }
  A* sums = dynamic_shared<A>();  // (2, n)
  for (int warp = 0; warp < row_threads / 32; ++warp) {
    if (static_cast<int>(threadIdx.x) / 32 == warp) {
      gains.for_each([&](int slot) {
        const std::int64_t column = gains.column(slot);
        sums[column] = (warp == 0 ? A(0) : sums[column]) + gain_sums[slot];
        sums[n + column] = (warp == 0 ? A(0) : sums[n + column]) + bias_sums[slot];
      });
    }
    __syncthreads();
  }
  partials += blockIdx.x * 2 * n;
  for (std::int64_t i = threadIdx.x; i < 2 * n; i += row_threads) partials[i] = sums[i];
}

// For rows that no warp can hold: dx row by row, then the sums column by column.

template <class T, class Extra, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    input_gradient_kernel(const T* x, const A* gain, const T* g, const A* mean, const A* scale, T* dx, Extra extra,
                          std::int64_t rows, std::int64_t n) {
  const BlockRows::Of<A> gains(gain, n);
  for (std::int64_t i = BlockRows::first(); i < rows; i += BlockRows::stride()) {
    const BlockRows::Of<T> row(x + i * n, n), up(g + i * n, n);
    write_input_gradient<BlockRows>(row, up, gains, mean[i], scale[i], A(1) / A(n), dx, extra, i, n);
  }
}

/// Blocks of (32, column_height): 32 columns, each shared by column_height threads.
constexpr int column_height = 8;
constexpr std::int64_t most_column_blocks = 64;  // that share the rows of one column

/// In threads of y = 0, the sum of what the threads of their column hold.
template <class A>
__device__ __forceinline__ A sum_of_column(A value) {
  auto& values = shared_array<A[column_height][32], struct values_of_columns>();
  values[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  A sum = 0;
  for (int y = 0; y < column_height; ++y) sum += values[y][threadIdx.x];
  __syncthreads();  // the next call may write
  return sum;
}

/// partials (gridDim.y, 2, n): sums over a share of the rows.
template <class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(32 * column_height)
    parameters_kernel(const T* x, const T* g, const A* mean, const A* scale, A* partials, std::int64_t rows,
                      std::int64_t n) {
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + threadIdx.x;
  A gain_sum = 0, bias_sum = 0;
  if (column < n) {
    for (std::int64_t row = blockIdx.y * column_height + threadIdx.y; row < rows; row += gridDim.y * column_height) {
      const A up = A(g[row * n + column]);
      gain_sum += up * ((A(x[row * n + column]) - mean[row]) * scale[row]);
      bias_sum += up;
    }
  }
  gain_sum = sum_of_column(gain_sum);
  bias_sum = sum_of_column(bias_sum);
  if (threadIdx.y > 0 || column >= n) return;
  partials += blockIdx.y * 2 * n;
  partials[column] = gain_sum;
  partials[n + column] = bias_sum;
}

/// dgain and dbias from partials (blocks, 2, n).
template <class A>
__global__ void __launch_bounds__(32 * column_height)
    add_partials_kernel(const A* partials, A* dgain, A* dbias, std::int64_t blocks, std::int64_t n) {
  const std::int64_t column = std::int64_t{blockIdx.x} * 32 + threadIdx.x;
  A sum = 0;
  if (column < 2 * n) {
    for (std::int64_t block = threadIdx.y; block < blocks; block += column_height) {
      sum += partials[block * 2 * n + column];
    }
  }
  sum = sum_of_column(sum);
  if (threadIdx.y > 0 || column >= 2 * n) return;
  (column < n ? dgain[column] : dbias[column - n]) = sum;
}

/// Of a row, in a lane's registers: layer norm has three arrays of these forward, five backward; a sum two more.
template <class T>
constexpr int most_elements = sizeof(Arithmetic<T>) == 8 ? 8 : 32;
template <class T>
constexpr int most_elements_backward = sizeof(Arithmetic<T>) == 8 ? 8 : 16;

std::int64_t column_blocks(std::int64_t rows) { return std::min(blocks_for(rows, column_height), most_column_blocks); }

template <class T, class Extra, class A = Arithmetic<T>>
void forward(const T* x, const Extra& extra, const A* gain, const A* bias, T* y, A* mean, A* scale, std::int64_t rows,
             std::int64_t n, A epsilon, Stream stream) {
  if (rows == 0) return;
  with_rows<T, most_elements<T>>(n, [&]<class Rows>() {
    launch<forward_kernel<Rows, T, Extra>>(
        {.blocks = row_blocks<Rows>(rows), .threads = row_threads, .stream = stream}, x, extra, gain, bias, y, mean,
        scale, rows, n, epsilon);
  });
}

template <class T, class Extra, class A = Arithmetic<T>>
void backward(const T* x, const A* gain, const T* g, const A* mean, const A* scale, T* dx, const Extra& extra, A* dgain,
              A* dbias, A* partials, std::int64_t rows, std::int64_t n, Stream stream) {
  std::int64_t blocks = 0;
  if (rows > 0) {
    with_rows<T, most_elements_backward<T>>(n, [&]<class Rows>() {
      const LaunchShape shape = {.blocks = row_blocks<Rows>(rows), .threads = row_threads, .stream = stream};
      if constexpr (std::is_same_v<Rows, BlockRows>) {
        blocks = column_blocks(rows);
        launch<input_gradient_kernel<T, Extra>>(shape, x, gain, g, mean, scale, dx, extra, rows, n);
        launch<parameters_kernel<T>>(
            {.blocks = {blocks_for(n, 32), blocks}, .threads = {32, column_height}, .stream = stream}, x, g, mean,
            scale, partials, rows, n);
      } else {
        blocks = shape.blocks.x;
        LaunchShape with_sums = shape;
        with_sums.shared_bytes = 2 * n * sizeof(A);
        launch<backward_kernel<Rows, T, Extra>>(with_sums, x, gain, g, mean, scale, dx, extra, partials, rows, n);
      }
    });
  }
  launch<add_partials_kernel<A>>({.blocks = blocks_for(2 * n, 32), .threads = {32, column_height}, .stream = stream},
                                 partials, dgain, dbias, blocks, n);
}

template <class T, class Extra, class A = Arithmetic<T>>
void backward_naive(const T* x, const A* gain, const T* g, const A* mean, const A* scale, T* dx, const Extra& extra,
                    A* dgain, A* dbias, std::int64_t rows, std::int64_t n, Stream stream) {
  if (rows > 0) {
    launch<backward_naive_kernel<T, Extra>>(
        {.blocks = blocks_for(rows, row_threads), .threads = row_threads, .stream = stream}, x, gain, g, mean, scale,
        dx, extra, rows, n);
  }
  launch<parameters_naive_kernel<T>>({.blocks = blocks_for(n, row_threads), .threads = row_threads, .stream = stream},
                                     x, g, mean, scale, dgain, dbias, rows, n);
}

}  // namespace

template <class T>
void layer_norm_forward(const T* x, const Arithmetic<T>* gain, const Arithmetic<T>* bias, T* y, Arithmetic<T>* mean,
                        Arithmetic<T>* scale, std::int64_t rows, std::int64_t n, Arithmetic<T> epsilon, Stream stream) {
  forward(x, Alone(), gain, bias, y, mean, scale, rows, n, epsilon, stream);
}

template <class T>
void add_layer_norm_forward(const T* residual, const T* update, const DropoutMask& mask, const Arithmetic<T>* gain,
                            const Arithmetic<T>* bias, T* sum, T* y, Arithmetic<T>* mean, Arithmetic<T>* scale,
                            std::int64_t rows, std::int64_t n, Arithmetic<T> epsilon, Stream stream) {
  forward(residual, Added<T>{update, sum, mask}, gain, bias, y, mean, scale, rows, n, epsilon, stream);
}

std::int64_t layer_norm_partials(std::int64_t rows, std::int64_t n) {
  const bool by_warps = n <= 32 * most_elements_backward<float>;
  return 2 * n * (by_warps ? row_blocks<WarpRows<8, 1>>(rows) : column_blocks(rows));
}

template <class T>
void layer_norm_backward(const T* x, const Arithmetic<T>* gain, const T* g, const Arithmetic<T>* mean,
                         const Arithmetic<T>* scale, T* dx, Arithmetic<T>* dgain, Arithmetic<T>* dbias,
                         Arithmetic<T>* partials, std::int64_t rows, std::int64_t n, Stream stream) {
  backward(x, gain, g, mean, scale, dx, Alone(), dgain, dbias, partials, rows, n, stream);
}

template <class T>
void add_layer_norm_backward(const T* sum, const Arithmetic<T>* gain, const T* g, const T* g_sum,
                             const DropoutMask& mask, const Arithmetic<T>* mean, const Arithmetic<T>* scale,
                             T* dresidual, T* dupdate, Arithmetic<T>* dgain, Arithmetic<T>* dbias,
                             Arithmetic<T>* partials, std::int64_t rows, std::int64_t n, Stream stream) {
  backward(sum, gain, g, mean, scale, dresidual, AddedBackward<T>{g_sum, dupdate, mask}, dgain, dbias, partials, rows,
           n, stream);
}

template <class T>
void layer_norm_forward_naive(const T* x, const Arithmetic<T>* gain, const Arithmetic<T>* bias, T* y,
                              Arithmetic<T>* mean, Arithmetic<T>* scale, std::int64_t rows, std::int64_t n,
                              Arithmetic<T> epsilon, Stream stream) {
  if (rows == 0) return;
  launch<forward_naive_kernel<T>>({.blocks = blocks_for(rows, row_threads), .threads = row_threads, .stream = stream},
                                  x, gain, bias, y, mean, scale, rows, n, epsilon);
}

template <class T>
void layer_norm_backward_naive(const T* x, const Arithmetic<T>* gain, const T* g, const Arithmetic<T>* mean,
                               const Arithmetic<T>* scale, T* dx, Arithmetic<T>* dgain, Arithmetic<T>* dbias,
                               std::int64_t rows, std::int64_t n, Stream stream) {
  backward_naive(x, gain, g, mean, scale, dx, Alone(), dgain, dbias, rows, n, stream);
}

template <class T>
void add_layer_norm_backward_naive(const T* sum, const Arithmetic<T>* gain, const T* g, const T* g_sum,
                                   const DropoutMask& mask, const Arithmetic<T>* mean, const Arithmetic<T>* scale,
                                   T* dresidual, T* dupdate, Arithmetic<T>* dgain, Arithmetic<T>* dbias,
                                   std::int64_t rows, std::int64_t n, Stream stream) {
  backward_naive(sum, gain, g, mean, scale, dresidual, AddedBackward<T>{g_sum, dupdate, mask}, dgain, dbias, rows, n,
                 stream);
}

#define GRADUS_INSTANTIATE(T, A)                                                                                       \
  template void layer_norm_forward(const T*, const A*, const A*, T*, A*, A*, std::int64_t, std::int64_t, A, Stream);   \
  template void add_layer_norm_forward(const T*, const T*, const DropoutMask&, const A*, const A*, T*, T*, A*, A*,     \
                                       std::int64_t, std::int64_t, A, Stream);                                         \
  template void layer_norm_backward(const T*, const A*, const T*, const A*, const A*, T*, A*, A*, A*, std::int64_t,    \
                                    std::int64_t, Stream);                                                             \
  template void add_layer_norm_backward(const T*, const A*, const T*, const T*, const DropoutMask&, const A*,          \
                                        const A*, T*, T*, A*, A*, A*, std::int64_t, std::int64_t, Stream);             \
  template void layer_norm_forward_naive(const T*, const A*, const A*, T*, A*, A*, std::int64_t, std::int64_t, A,      \
                                         Stream);                                                                      \
  template void layer_norm_backward_naive(const T*, const A*, const T*, const A*, const A*, T*, A*, A*, std::int64_t,  \
                                          std::int64_t, Stream);                                                       \
  template void add_layer_norm_backward_naive(const T*, const A*, const T*, const T*, const DropoutMask&, const A*,    \
                                              const A*, T*, T*, A*, A*, std::int64_t, std::int64_t, Stream);
GRADUS_INSTANTIATE(double, double)
GRADUS_INSTANTIATE(float, float)
GRADUS_INSTANTIATE(bfloat16, float)

}  // namespace gradus::cuda
