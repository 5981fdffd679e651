#include <cmath>

#include "framework/kernels/cuda/fold.h"
#include "framework/kernels/cuda/optimizer.h"
#include "framework/kernels/cuda/pack.h"
#include "framework/kernels/cuda/tensor_table.h"
#include "framework/kernels/shared/row_unit.h"

namespace gradus::cuda {
namespace {

/// Nothing is left to do where a norm, if one is given, is a number.
__device__ __forceinline__ bool is_found(const GlobalNorm* norm) { return norm && norm->norm - norm->norm == 0; }

/// The sum of squares of each block's elements, times `unit`; nothing where the norm is `found` already.
template <class T>
__global__ void __launch_bounds__(table_threads)
    squares_kernel(TensorTable<FlatTensor<T>> table, double* of_blocks, std::int64_t blocks_before, double unit,
                   const GlobalNorm* found) {
  if (is_found(found)) return;
  constexpr int pack = widest_pack<T>;
  const PartOfTensor part = part_of_block(table);
  const T* values = table.tensors[part.tensor].values;
  const bool aligned = is_aligned(values, pack * sizeof(T));  // and so is every part
  double sum = 0;
  const auto add = [&](double value) { sum += (value * unit) * (value * unit); };
  for (std::int64_t i = part.begin + threadIdx.x * pack; i < part.end; i += table_threads * pack) {
    if (aligned && i + pack <= part.end) {
      const auto neighbours = load_pack<pack>(values + i);
#pragma unroll
      for (int j = 0; j < pack; ++j) add(double(neighbours[j]));
    } else {
      for (std::int64_t j = i; j < i + pack && j < part.end; ++j) add(double(values[j]));
    }
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) of_blocks[blocks_before + blockIdx.x] = sum;
}

/// One block.
template <class T>
__global__ void __launch_bounds__(1024)
    norm_kernel(GlobalNorm* norm, T* rounded, const double* squares_of_blocks, std::int64_t blocks, double max_norm,
                double unit, const GlobalNorm* found) {
  if (is_found(found)) return;
  double squares = 0;
  for (std::int64_t i = threadIdx.x; i < blocks; i += blockDim.x) squares += squares_of_blocks[i];
  squares = block_sum(squares);
  if (threadIdx.x != 0) return;
  const double length = sqrt(squares) / unit, factor = max_norm / (length + 1e-6);
  *norm = {length, factor < 1 ? factor : 1};
  if (rounded) *rounded = T(length);
}

template <class T>
__global__ void __launch_bounds__(table_threads) clip_kernel(TensorTable<FlatTensor<T>> table, const GlobalNorm* norm) {
  if (norm->clip_factor == 1) return;
  const auto factor = static_cast<Arithmetic<T>>(norm->clip_factor);
  const PartOfTensor part = part_of_block(table);
  T* values = table.tensors[part.tensor].values;
  for (std::int64_t i = part.begin + threadIdx.x; i < part.end; i += table_threads) {
    values[i] = T(Arithmetic<T>(values[i]) * factor);
  }
}

/// The constants of one tensor's update, as the CPU rounds them.
template <class T>
struct AdamWFactors {
  T beta1, beta2, rest1, rest2, epsilon, shrink, rate, root, clip;

  __device__ AdamWFactors(const AdamWConstants& constants, const AdamWStep& step, double weight_decay,
                          double clip_factor)
      : beta1(constants.beta1),
        beta2(constants.beta2),
        rest1(1 - constants.beta1),
        rest2(1 - constants.beta2),
        epsilon(constants.epsilon),
        shrink(1 - step.learning_rate * weight_decay),
        rate(step.rate),
        root(step.root),
        clip(clip_factor) {}

  __device__ __forceinline__ void update(T& w, T g, T& m, T& v) const {
    g *= clip;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
    w = shrink * w - rate * m / (sqrt(v) * root + epsilon);
  }
};

/// `pack` neighbours of all the arrays of a tensor, from element i on.
template <int pack, class T, class Gradient>
__device__ __forceinline__ void update_neighbours(const AdamWTensor<T, Gradient>& tensor,
                                                  const AdamWFactors<T>& factors, std::int64_t i) {
  auto w = load_pack<pack>(tensor.parameter + i), m = load_pack<pack>(tensor.first_moment + i),
       v = load_pack<pack>(tensor.second_moment + i);
  const auto g = load_pack<pack>(tensor.gradient + i);
#pragma unroll
  for (int j = 0; j < pack; ++j) factors.update(w[j], T(g[j]), m[j], v[j]);
  store_pack(tensor.parameter + i, w);
  store_pack(tensor.first_moment + i, m);
  store_pack(tensor.second_moment + i, v);
  if (tensor.copy) {
    Pack<bfloat16, pack> copy;
#pragma unroll
    for (int j = 0; j < pack; ++j) copy[j] = bfloat16(w[j]);
    store_pack(tensor.copy + i, copy);
  }
}

template <class T, class Gradient>
__global__ void __launch_bounds__(table_threads)
    adamw_kernel(TensorTable<AdamWTensor<T, Gradient>> table, AdamWConstants constants, AdamWStep step,
                 const AdamWStep* step_on_device, const GlobalNorm* norm, const T* if_finite) {
  if (if_finite && !(*if_finite - *if_finite == 0)) return;  // a difference of infinities is NaN
  constexpr int pack = widest_pack<T>;
  const PartOfTensor part = part_of_block(table);
  const AdamWTensor<T, Gradient> tensor = table.tensors[part.tensor];
  if (step_on_device) step = *step_on_device;
  const AdamWFactors<T> factors(constants, step, tensor.weight_decay, norm ? norm->clip_factor : 1);
  const bool aligned =
      is_aligned(tensor.parameter, pack * sizeof(T)) && is_aligned(tensor.first_moment, pack * sizeof(T)) &&
      is_aligned(tensor.second_moment, pack * sizeof(T)) && is_aligned(tensor.gradient, pack * sizeof(Gradient)) &&
      is_aligned(tensor.copy, pack * sizeof(bfloat16));  // null too
  for (std::int64_t i = part.begin + threadIdx.x * pack; i < part.end; i += table_threads * pack) {
    if (aligned && i + pack <= part.end) {
      update_neighbours<pack>(tensor, factors, i);
    } else {
      for (std::int64_t j = i; j < i + pack && j < part.end; ++j) update_neighbours<1>(tensor, factors, j);
    }
  }
}

}  // namespace

template <class T>
void global_norm(GlobalNorm* norm, T* rounded, std::span<const FlatTensor<T>> gradients, double max_norm,
                 void* workspace, Stream stream) {
  auto* squares = static_cast<double*>(workspace);
  const auto find = [&](double unit, const GlobalNorm* found) {
    for_each_table(gradients, [&](const auto& table, std::int64_t blocks, std::int64_t blocks_before) {
      launch<squares_kernel<T>>({.blocks = blocks, .threads = table_threads, .stream = stream}, table, squares,
                                blocks_before, unit, found);
    });
    launch<norm_kernel<T>>({.blocks = 1, .threads = 1024, .stream = stream}, norm, rounded, squares,
                           blocks_of(gradients), max_norm, unit, found);
  };
  find(1, nullptr);
  if constexpr (std::is_same_v<T, double>) find(RowUnits<double>::smaller, norm);  // where squares overflowed
}

template <class T>
std::size_t global_norm_workspace_bytes(std::span<const FlatTensor<T>> gradients) {
  return blocks_of(gradients) * sizeof(double);
}

template <class T>
void clip(std::span<const FlatTensor<T>> gradients, const GlobalNorm* norm, Stream stream) {
  for_each_table(gradients, [&](const auto& table, std::int64_t blocks, std::int64_t) {
    launch<clip_kernel<T>>({.blocks = blocks, .threads = table_threads, .stream = stream}, table, norm);
  });
}

template <class T, class Gradient>
void adamw(std::span<const AdamWTensor<T, Gradient>> tensors, const AdamWConstants& constants, const AdamWStep& step,
           const AdamWStep* step_on_device, const GlobalNorm* norm, const T* if_finite, Stream stream) {
  for_each_table(tensors, [&](const auto& table, std::int64_t blocks, std::int64_t) {
    launch<adamw_kernel<T, Gradient>>({.blocks = blocks, .threads = table_threads, .stream = stream}, table, constants,
                                      step, step_on_device, norm, if_finite);
  });
}

#define GRADUS_INSTANTIATE(T)                                                                        \
  template void global_norm(GlobalNorm*, T*, std::span<const FlatTensor<T>>, double, void*, Stream); \
  template std::size_t global_norm_workspace_bytes(std::span<const FlatTensor<T>>);                  \
  template void clip(std::span<const FlatTensor<T>>, const GlobalNorm*, Stream);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)
#undef GRADUS_INSTANTIATE
#define GRADUS_INSTANTIATE_ADAMW(T, Gradient)                                                             \
  template void adamw(std::span<const AdamWTensor<T, Gradient>>, const AdamWConstants&, const AdamWStep&, \
                      const AdamWStep*, const GlobalNorm*, const T*, Stream);
GRADUS_INSTANTIATE_ADAMW(double, double)
GRADUS_INSTANTIATE_ADAMW(float, float)
GRADUS_INSTANTIATE_ADAMW(float, bfloat16)
#undef GRADUS_INSTANTIATE_ADAMW

}  // namespace gradus::cuda
