// One loop for all element-wise kernels: out[i] = f(in1[i], in2[i], ...) over strided, broadcast operands.
#pragma once

#include <array>
#include <tuple>
#include <utility>

#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/prefetch.h"
#include "framework/kernels/loop_nest.h"
#include "framework/tensor/tensor.h"

namespace gradus::cpu {

/// An input of map_elements together with its element type.
template <class T>
struct Operand {
  using Element = T;
  const Tensor& tensor;
};

namespace detail {

template <class T>
struct Contiguous {
  const T* data;
  T operator[](std::int64_t i) const { return data[i]; }
};
template <class T>
struct Constant {
  T value;
  T operator[](std::int64_t) const { return value; }
};
template <class T>
struct Strided {
  const T* data;
  std::int64_t stride;
  T operator[](std::int64_t i) const { return data[i * stride]; }
};

// flatten: a call in the loop would keep it from being vectorised.
template <class Out, class F, class... Access>
[[gnu::flatten]] void run_contiguous(std::int64_t count, Out* out, const F& f, const Access&... in) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) out[i] = f(in[i]...);
}

/// Chooses, operand by operand, between Contiguous (stride 1) and Constant (stride 0), then runs the loop.
template <std::size_t position, class Out, class F, class Pointers, class... Access>
void choose_access(std::int64_t count, Out* out, const F& f, const Pointers& pointers, const std::int64_t* strides,
                   const Access&... access) {
  if constexpr (position == std::tuple_size_v<Pointers>) {
    run_contiguous(count, out, f, access...);
  } else {
    const auto* data = std::get<position>(pointers);
    using T = std::remove_cvref_t<decltype(*data)>;
    if (strides[position] == 1) {
      choose_access<position + 1>(count, out, f, pointers, strides, access..., Contiguous<T>{data});
    } else {
      choose_access<position + 1>(count, out, f, pointers, strides, access..., Constant<T>{*data});
    }
  }
}

}  // namespace detail

/// out[i] = f(in[i]...), where `out` has the full shape and each input broadcasts to it. `out` must not overlap an
/// input unless both walk the same elements in the same order.
template <class Out, class F, class... In>
void map_elements(const Tensor& out, const F& f, const Operand<In>&... in) {
  if (out.numel() == 0) return;
  constexpr std::size_t inputs = sizeof...(In);
  const LoopNest nest(out.shape(), {out.strides(), broadcast_strides(in.tensor, out.shape())...});
  const int last = nest.shape.rank() - 1;
  const std::int64_t row_length = nest.shape[last];
  const std::int64_t block = std::min<std::int64_t>(row_length, 8192);
  const std::int64_t blocks_per_row = (row_length + block - 1) / block;
  const std::int64_t rows = nest.shape.numel() / row_length;
  Out* const out_data = out.fresh_data<Out>();
  const auto in_data = std::tuple{in.tensor.template data<In>()...};

  std::array<std::int64_t, inputs> in_stride;
  for (std::size_t k = 0; k < inputs; ++k) in_stride[k] = nest.strides[k + 1][last];
  const std::int64_t out_stride = nest.strides[0][last];
  const bool dense = (out_stride == 1 || row_length == 1) &&
                     std::all_of(in_stride.begin(), in_stride.end(), [](auto stride) { return stride == 0 || stride == 1; });

  const auto run_block = [&]<std::size_t... k>(std::index_sequence<k...>, std::int64_t count, const auto& offset) {
    Out* const to = out_data + offset[0];
    const auto from = std::tuple{std::get<k>(in_data) + offset[k + 1]...};
    if (dense) {
      constexpr std::int64_t chunk = 256;
      for (std::int64_t start = 0; start < count; start += chunk) {
        const std::int64_t here = std::min(chunk, count - start);
        ((in_stride[k] == 1 ? prefetch(std::get<k>(from), start + 4 * chunk, here) : void()), ...);
        detail::choose_access<0>(here, to + start, f, std::tuple{std::get<k>(from) + start * in_stride[k]...},
                                 in_stride.data());
      }
    } else {
      const auto strided = std::tuple{detail::Strided<In>{std::get<k>(from), in_stride[k]}...};
      for (std::int64_t i = 0; i < count; ++i) to[i * out_stride] = f(std::get<k>(strided)[i]...);
    }
  };

  parallel_for(rows * blocks_per_row, std::max<std::int64_t>(1, 16384 / block), 2 * block, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t first = unit % blocks_per_row * block;
      std::array<std::int64_t, inputs + 1> offset;
      for (std::size_t k = 0; k <= inputs; ++k) offset[k] = first * nest.strides[k][last];
      std::int64_t row = unit / blocks_per_row;
      for (int axis = last - 1; axis >= 0; --axis) {
        const std::int64_t index = row % nest.shape[axis];
        row /= nest.shape[axis];
        for (std::size_t k = 0; k <= inputs; ++k) offset[k] += index * nest.strides[k][axis];
      }
      run_block(std::make_index_sequence<inputs>{}, std::min(block, row_length - first), offset);
    }
  });
}

}  // namespace gradus::cpu
