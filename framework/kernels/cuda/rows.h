// The rows of a matrix (rows, n), shared among threads. WarpRows: a warp has a row and keeps it in registers, for rows
// that fit; BlockRows: a block has a row and reads it from memory whenever it needs it, for rows of any length. A
// kernel is written once for both:
//   for (std::int64_t i = Rows::first(); i < rows; i += Rows::stride()) {
//     const typename Rows::template Of<T> row(x + i * n, n);
//     A sum = 0;
//     row.for_each([&](int slot) { sum += row[slot]; });  // this thread's elements
//     sum = Rows::fold(sum, A(0), Plus());                // those of all threads that share the row
//   }
// and launched with the one that suits n by with_rows().
#pragma once

#include <limits>

#include "framework/base/bfloat16.h"
#include "framework/kernels/cuda/fold.h"
#include "framework/kernels/cuda/pack.h"

namespace gradus::cuda {

/// Threads of every block that works on rows.
inline constexpr int row_threads = 256;
/// Blocks of a launch at most: about as many as a large device runs at a time. What is summed over rows is summed by
/// block, so that this number, and not the device, decides the order.
inline constexpr std::int64_t most_row_blocks = 1024;

/// A NaN is larger than any number.
struct Largest {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return b > a || b != b ? b : a;
  }
};

/// `elements` of a row in each lane, `width` neighbours at a time: 1, or a divisor of n. Rows that are known to
/// be `aligned` start at multiples of 16 bytes; of others each asks.
template <int elements, int width, bool aligned = false>
struct WarpRows {
  static constexpr int slots = elements;
  static constexpr int per_block = row_threads / 32;

  __device__ static std::int64_t first() { return std::int64_t{blockIdx.x} * per_block + threadIdx.x / 32; }
  __device__ static std::int64_t stride() { return std::int64_t{gridDim.x} * per_block; }
  __device__ static bool leads() { return threadIdx.x % 32 == 0; }

  template <class T, class Combine>
  __device__ static T fold(T value, T /*empty*/, const Combine& combine) {
    return fold_lanes(value, 32, combine);
  }

  template <class T>
  class Of {
   public:
    __device__ __forceinline__ Of(const T* row, std::int64_t n) : n_(static_cast<int>(n)) {
      if (pack == 1 || aligned || is_aligned(row, pack * sizeof(T))) load_by<pack>(row);
      else load_by<1>(row);
    }

    __device__ __forceinline__ Arithmetic<T> operator[](int slot) const { return values_[slot]; }
    __device__ __forceinline__ int column(int slot) const {
      return (slot / width * 32 + static_cast<int>(threadIdx.x) % 32) * width + slot % width;
    }

    /// visit(slot) for each of this thread's elements.
    template <class Visit>
    __device__ __forceinline__ void for_each(Visit&& visit) const {
#pragma unroll
      for (int slot = 0; slot < elements; ++slot) {
        if (column(slot) < n_) visit(slot);
      }
    }

    /// Writes value_at(slot) to a row of its own, which may be where this one came from.
    template <class ValueAt>
    __device__ __forceinline__ void store_to(T* row, ValueAt&& value_at) const {
      if (pack == 1 || aligned || is_aligned(row, pack * sizeof(T))) store_by<pack>(row, value_at);
      else store_by<1>(row, value_at);
    }

   private:
    static constexpr int pack = width < widest_pack<T> ? width : widest_pack<T>;

    template <int count>
    __device__ __forceinline__ void load_by(const T* row) {
#pragma unroll
      for (int slot = 0; slot < elements; slot += count) {
        if (column(slot) >= n_) continue;
        const auto loaded = load_pack<count>(row + column(slot));
#pragma unroll
        for (int i = 0; i < count; ++i) values_[slot + i] = Arithmetic<T>(loaded[i]);
      }
    }

    template <int count, class ValueAt>
    __device__ __forceinline__ void store_by(T* row, ValueAt&& value_at) const {
#pragma unroll
      for (int slot = 0; slot < elements; slot += count) {
        if (column(slot) >= n_) continue;
        Pack<T, count> stored;
#pragma unroll
        for (int i = 0; i < count; ++i) stored[i] = T(value_at(slot + i));
        store_pack(row + column(slot), stored);
      }
    }

    int n_;
    Arithmetic<T> values_[elements] = {};
  };

  /// value_at(slot) of this thread's elements, computed once.
  template <class A>
  class Values {
   public:
    template <class Row, class ValueAt>
    __device__ __forceinline__ Values(const Row& row, ValueAt&& value_at) {
      row.for_each([&](int slot) { values_[slot] = value_at(slot); });
    }
    __device__ __forceinline__ A operator[](int slot) const { return values_[slot]; }

   private:
    A values_[elements] = {};
  };
  template <class A, class Row, class ValueAt>
  __device__ __forceinline__ static Values<A> values(const Row& row, ValueAt&& value_at) {
    return {row, value_at};
  }
};

struct BlockRows {
  static constexpr int per_block = 1;

  __device__ static std::int64_t first() { return blockIdx.x; }
  __device__ static std::int64_t stride() { return gridDim.x; }
  __device__ static bool leads() { return threadIdx.x == 0; }

  template <class T, class Combine>
  __device__ static T fold(T value, T empty, const Combine& combine) {
    return fold_block(value, empty, combine);
  }

  template <class T>
  class Of {
   public:
    __device__ __forceinline__ Of(const T* row, std::int64_t n) : row_(row), n_(n) {}

    __device__ __forceinline__ Arithmetic<T> operator[](std::int64_t slot) const {
      return Arithmetic<T>(row_[column(slot)]);
    }
    __device__ __forceinline__ std::int64_t column(std::int64_t slot) const { return slot * row_threads + threadIdx.x; }

    template <class Visit>
    __device__ __forceinline__ void for_each(Visit&& visit) const {
      for (std::int64_t slot = 0; column(slot) < n_; ++slot) visit(slot);
    }

    template <class ValueAt>
    __device__ __forceinline__ void store_to(T* row, ValueAt&& value_at) const {
      for (std::int64_t slot = 0; column(slot) < n_; ++slot) row[column(slot)] = T(value_at(slot));
    }

   private:
    const T* row_;
    std::int64_t n_;
  };

  /// value_at(slot) of this thread's elements, computed whenever it is read.
  template <class A, class ValueAt>
  class Values {
   public:
    __device__ __forceinline__ explicit Values(const ValueAt& value_at) : value_at_(value_at) {}
    __device__ __forceinline__ A operator[](std::int64_t slot) const { return value_at_(slot); }

   private:
    const ValueAt& value_at_;
  };
  template <class A, class Row, class ValueAt>
  __device__ __forceinline__ static Values<A, ValueAt> values(const Row&, const ValueAt& value_at) {
    return Values<A, ValueAt>(value_at);
  }
};

/// Calls launcher.template operator()<Rows>() with the rows that suit a length of n, of which a lane may have
/// `most_elements` in its registers: a power of two, or 0. Which ones, and so the order of sums, n alone decides.
template <class T, int most_elements, class Launcher>
void with_rows(std::int64_t n, Launcher&& launcher) {
  [[maybe_unused]] const bool packs = n % widest_pack<T> == 0;
  if constexpr (most_elements > 0) {
    constexpr int few = most_elements < 8 ? most_elements : 8;
    if (n <= 32 * few) {
      packs ? launcher.template operator()<WarpRows<few, widest_pack<T>>>()
            : launcher.template operator()<WarpRows<few, 1>>();
      return;
    }
  }
  if constexpr (most_elements > 8) {
    if (packs && n <= 32 * most_elements) {
      launcher.template operator()<WarpRows<most_elements, widest_pack<T>>>();
      return;
    }
  }
  launcher.template operator()<BlockRows>();
}

/// In all threads that share the row, its largest element; -inf for none.
template <class Rows, class Row>
__device__ __forceinline__ auto largest_of(const Row& row) {
  using A = decltype(row[0]);
  constexpr A nothing = -std::numeric_limits<A>::infinity();
  A largest = nothing;
  row.for_each([&](auto slot) { largest = Largest()(largest, row[slot]); });
  return Rows::fold(largest, nothing, Largest());
}

/// Blocks for kernels that loop over rows.
template <class Rows>
std::int64_t row_blocks(std::int64_t rows) {
  const std::int64_t blocks = blocks_for(rows, Rows::per_block);
  return blocks < most_row_blocks ? blocks : most_row_blocks;
}

}  // namespace gradus::cuda
