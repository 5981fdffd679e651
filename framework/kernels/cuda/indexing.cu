#include <algorithm>
#include <type_traits>

#include "framework/kernels/cuda/indexing.h"
#include "framework/kernels/cuda/kernel.h"
#include "framework/kernels/cuda/rows.h"

namespace gradus::cuda {
namespace {

__global__ void __launch_bounds__(row_threads)
    outside_kernel(unsigned long long* left, const std::int64_t* index, std::int64_t count, std::int64_t size,
                   bool excepts, std::int64_t except) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * blockDim.x) {
    if ((index[i] < 0 || index[i] >= size) && !(excepts && index[i] == except)) {
      atomicMax(left, static_cast<unsigned long long>(count - i));
    }
  }
}

// Reading. Blocks of (width, height): `width` threads share a slice, or a row of the index.

LaunchShape slices_launch(std::int64_t slices, std::int64_t width_of_slice, Stream stream) {
  std::int64_t width = 1;
  while (width < width_of_slice && width < row_threads) width *= 2;
  const std::int64_t height = row_threads / width;
  return {.blocks = {blocks_for(slices, height), std::min<std::int64_t>(blocks_for(width_of_slice, width), 1024)},
          .threads = {width, height},
          .stream = stream};
}

/// visit(slice, column, start(slice)) for this thread's share of one slice.
template <class Start, class Visit>
__device__ __forceinline__ void for_each_in_slice(std::int64_t slices, std::int64_t columns, Start&& start,
                                                  Visit&& visit) {
  const std::int64_t slice = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  if (slice >= slices) return;
  const auto from = start(slice);
  const std::int64_t first = std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x;
  for (std::int64_t column = first; column < columns; column += std::int64_t{gridDim.y} * blockDim.x) {
    visit(slice, column, from);
  }
}

/// Slices of `words` words.
template <class Word>
__global__ void __launch_bounds__(row_threads)
    select_kernel(const Word* table, const std::int64_t* index, Word* out, std::int64_t slices, std::int64_t size,
                  std::int64_t count, std::int64_t words) {
  for_each_in_slice(
      slices, words, [&](std::int64_t slice) { return table + (slice / count * size + index[slice % count]) * words; },
      [&](std::int64_t slice, std::int64_t word, const Word* from) { out[slice * words + word] = from[word]; });
}

/// False if the slices are no words of this kind.
template <class Word>
bool select_words(const void* table, const std::int64_t* index, void* out, std::int64_t outer, std::int64_t size,
                  std::int64_t count, std::int64_t slice_bytes, Stream stream) {
  const std::int64_t bytes = sizeof(Word);
  if (slice_bytes % bytes != 0 || !is_aligned(table, bytes) || !is_aligned(out, bytes)) return false;
  launch<select_kernel<Word>>(slices_launch(outer * count, slice_bytes / bytes, stream),
                              static_cast<const Word*>(table), index, static_cast<Word*>(out), outer * count, size,
                              count, slice_bytes / bytes);
  return true;
}

/// The index as rows along its last axis, and where in the table the elements of each start.
struct IndexRows {
  int rank;                                                   // of what numbers the rows: all axes but the last
  std::int64_t sizes[max_rank] = {}, strides[max_rank] = {};  // of the index; of the table, 0 along the indexed axis
  std::int64_t rows = 1, columns;
  std::int64_t step;         // in the table, from one index to the next
  std::int64_t column_step;  // in the table, from one column of the index to the next

  IndexRows(const Shape& index, const Shape& table, int axis) : rank(index.rank() - 1), columns(index.back()) {
    std::int64_t stride = 1;
    for (int i = rank; i >= 0; --i) {
      sizes[i] = index[i];
      strides[i] = i == axis ? 0 : stride;
      if (i == axis) step = stride;
      if (i < rank) rows *= index[i];
      stride *= table[i];
    }
    column_step = strides[rank];
  }

  __device__ std::int64_t start(std::int64_t row) const {
    std::int64_t place = 0;
#pragma unroll
    for (int i = max_rank - 2; i > 0; --i) {
      if (i >= rank) continue;
      const std::int64_t rest = row / sizes[i];
      place += (row - rest * sizes[i]) * strides[i];
      row = rest;
    }
    if (rank > 0) place += row * strides[0];
    return place;
  }
};

template <class Word>
__global__ void __launch_bounds__(row_threads)
    gather_kernel(const Word* table, const std::int64_t* index, Word* out, IndexRows index_rows) {
  for_each_in_slice(
      index_rows.rows, index_rows.columns, [&](std::int64_t row) { return table + index_rows.start(row); },
      [&](std::int64_t row, std::int64_t column, const Word* from) {
        const std::int64_t at = row * index_rows.columns + column;
        out[at] = from[index[at] * index_rows.step + column * index_rows.column_step];
      });
}

/// What moves elements of so many bytes.
template <int bytes>
using WordOf = std::conditional_t<
    bytes == 8, std::uint64_t,
    std::conditional_t<bytes == 4, std::uint32_t, std::conditional_t<bytes == 2, std::uint16_t, std::uint8_t>>>;

// Adding up.

/// The indices that may choose an element of the table, and which of them do: those equal to `own`.
struct Candidates {
  std::int64_t first, count, own;
};

struct ScatteredAxis {
  int rank, axis;
  std::int64_t table_sizes[max_rank] = {}, index_sizes[max_rank] = {}, index_strides[max_rank] = {};
  std::int64_t elements = 1;  // of the table

  ScatteredAxis(const Shape& table, const Shape& index, int axis) : rank(table.rank()), axis(axis) {
    std::int64_t stride = 1;
    for (int i = rank - 1; i >= 0; --i) {
      table_sizes[i] = table[i];
      index_sizes[i] = index[i];
      index_strides[i] = stride;
      stride *= index[i];
      elements *= table[i];
    }
  }

  GRADUS_HOST_DEVICE std::int64_t step() const { return index_strides[axis]; }

  __device__ Candidates candidates(std::int64_t element) const {
    Candidates result = {0, index_sizes[axis], 0};
#pragma unroll
    for (int i = max_rank - 1; i >= 0; --i) {
      if (i >= rank) continue;
      const std::int64_t rest = i > 0 ? element / table_sizes[i] : 0;
      const std::int64_t coordinate = element - rest * table_sizes[i];
      element = rest;
      if (i == axis) result.own = coordinate;
      else if (coordinate >= index_sizes[i]) result.count = 0;
      else result.first += coordinate * index_strides[i];
    }
    return result;
  }
};

/// What candidates number first_candidate, first_candidate + stride, ... add to their element.
template <class T, class A = Arithmetic<T>>
__device__ __forceinline__ A sum_of_chosen(const T* source, const std::int64_t* index, const Candidates& candidates,
                                           std::int64_t step, std::int64_t first_candidate, std::int64_t stride) {
  A sum = 0;
  for (std::int64_t i = first_candidate; i < candidates.count; i += stride) {
    const std::int64_t at = candidates.first + i * step;
    if (index[at] == candidates.own) sum += A(source[at]);
  }
  return sum;
}

template <class T>
__global__ void __launch_bounds__(row_threads)
    scatter_by_threads_kernel(const T* source, const std::int64_t* index, T* table, ScatteredAxis axes) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= axes.elements) return;
  table[i] = T(sum_of_chosen(source, index, axes.candidates(i), axes.step(), 0, 1));
}

/// A warp for each element of the table, whose candidates are neighbours.
template <class T>
__global__ void __launch_bounds__(row_threads)
    scatter_by_warps_kernel(const T* source, const std::int64_t* index, T* table, ScatteredAxis axes) {
  const std::int64_t i = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (i >= axes.elements) return;  // a whole warp
  const auto sum = warp_sum(sum_of_chosen(source, index, axes.candidates(i), 1, lane, 32));
  if (lane == 0) table[i] = T(sum);
}

template <class T>
void scatter_by_threads(const T* source, const std::int64_t* index, T* table, const ScatteredAxis& axes,
                        Stream stream) {
  launch<scatter_by_threads_kernel<T>>(
      {.blocks = blocks_for(axes.elements, row_threads), .threads = row_threads, .stream = stream}, source, index,
      table, axes);
}

template <class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    embedding_add_naive_kernel(const T* source, const std::int64_t* ids, T* table, std::int64_t count,
                               std::int64_t rows, std::int64_t columns) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const std::int64_t row = i / columns, column = i % columns;
  if (row >= rows) return;
  A sum = 0;
  for (std::int64_t j = 0; j < count; ++j) {
    if (ids[j] == row) sum += A(source[j * columns + column]);
  }
  table[i] = T(sum);
}

/// Columns that a block adds up.
constexpr int stripe = 256;
constexpr int warps_of_block = row_threads / 32;

/// Row blockIdx.x, columns of the stripe blockIdx.y, ids of the share blockIdx.z, and of that a share for each warp.
/// table (rows, columns) if there is one share, or partials (shares, rows, columns).
template <int width, class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    embedding_add_kernel(const T* source, const std::int64_t* ids, T* table, A* partials, std::int64_t count,
                         std::int64_t columns) {
  using Rows = WarpRows<stripe / 32, width, (width > 1)>;
  using Part = typename Rows::template Of<T>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const std::int64_t row = blockIdx.x, first_column = std::int64_t{blockIdx.y} * stripe;
  const std::int64_t columns_left = columns - first_column < stripe ? columns - first_column : stripe;
  const std::int64_t shares = std::int64_t{gridDim.z} * warps_of_block;
  const std::int64_t share = (count + shares * 32 - 1) / (shares * 32) * 32;
  const std::int64_t begin = (std::int64_t{blockIdx.z} * warps_of_block + warp) * share;
  const std::int64_t end = begin + share < count ? begin + share : count;
  A sums[Rows::slots] = {};
  for (std::int64_t first = begin; first < end; first += 32) {
    unsigned chosen = __ballot_sync(all_lanes, first + lane < end && ids[first + lane] == row);
    const auto next = [&] {
      const std::int64_t id = chosen == 0 ? first : first + __ffs(static_cast<int>(chosen)) - 1;
      const Part part(source + id * columns + first_column, chosen == 0 ? 0 : columns_left);
      chosen &= chosen - 1;
      return part;
    };
    while (chosen != 0) {
      const Part parts[] = {next(), next(), next(), next()};  // all are asked for before the first is added
#pragma unroll
      for (const Part& part : parts) part.for_each([&](int slot) { sums[slot] += part[slot]; });
    }
  }
  auto& of_warps = shared_array<A[warps_of_block][stripe], struct sums_of_warps>();
  const Part place(source, 0);
#pragma unroll
  for (int slot = 0; slot < Rows::slots; ++slot) of_warps[warp][place.column(slot)] = sums[slot];
  __syncthreads();
  const std::int64_t column = first_column + threadIdx.x;
  if (column >= columns) return;
  A sum = 0;
  for (int other = 0; other < warps_of_block; ++other) sum += of_warps[other][threadIdx.x];
  if (gridDim.z == 1) table[row * columns + column] = T(sum);
  else partials[(blockIdx.z * std::int64_t{gridDim.x} + row) * columns + column] = sum;
}

/// table (elements) = the sum of partials (shares, elements).
template <class T, class A = Arithmetic<T>>
__global__ void __launch_bounds__(row_threads)
    add_shares_kernel(const A* partials, T* table, std::int64_t shares, std::int64_t elements) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= elements) return;
  A sum = 0;
  for (std::int64_t share = 0; share < shares; ++share) sum += partials[share * elements + i];
  table[i] = T(sum);
}

/// Into how many the ids are cut, so that a small table too keeps a device busy.
std::int64_t shares_of_ids(std::int64_t count, std::int64_t rows) {
  return std::clamp<std::int64_t>(std::min(count / 2048, 4096 / rows), 1, 16);
}

}  // namespace

void find_outside(unsigned long long* left, const std::int64_t* index, std::int64_t count, std::int64_t size,
                  std::optional<std::int64_t> except, Stream stream) {
  if (count == 0) return;
  const std::int64_t threads = std::min<std::int64_t>(row_threads, (count + 31) / 32 * 32);
  const std::int64_t blocks = std::min(blocks_for(count, threads), most_row_blocks);
  launch<outside_kernel>({.blocks = blocks, .threads = threads, .stream = stream}, left, index, count, size,
                         except.has_value(), except.value_or(0));
}

void index_select(const void* table, const std::int64_t* index, void* out, std::int64_t outer, std::int64_t size,
                  std::int64_t count, std::int64_t slice_bytes, Stream stream) {
  if (outer == 0 || count == 0 || slice_bytes == 0) return;
  const auto select_by = [&]<class Word>(Word) {
    return select_words<Word>(table, index, out, outer, size, count, slice_bytes, stream);
  };
  (void)(select_by(uint4{}) || select_by(uint2{}) || select_by(std::uint32_t{}) || select_by(std::uint16_t{}) ||
         select_by(std::uint8_t{}));
}

template <class T>
void gather(const T* table, const std::int64_t* index, T* out, const Shape& table_shape, const Shape& index_shape,
            int axis, Stream stream) {
  using Word = WordOf<sizeof(T)>;
  const IndexRows rows(index_shape, table_shape, axis);
  if (rows.rows * rows.columns == 0) return;
  launch<gather_kernel<Word>>(slices_launch(rows.rows, rows.columns, stream), reinterpret_cast<const Word*>(table),
                              index, reinterpret_cast<Word*>(out), rows);
}

std::int64_t embedding_add_partials(std::int64_t count, std::int64_t rows, std::int64_t columns) {
  const std::int64_t shares = rows == 0 ? 1 : shares_of_ids(count, rows);
  return shares > 1 ? shares * rows * columns : 0;
}

template <class T>
void embedding_add(const T* source, const std::int64_t* ids, T* table, Arithmetic<T>* partials, std::int64_t count,
                   std::int64_t rows, std::int64_t columns, Stream stream) {
  if (rows * columns == 0) return;
  const std::int64_t shares = shares_of_ids(count, rows);
  const LaunchShape shape = {
      .blocks = {rows, blocks_for(columns, stripe), shares}, .threads = row_threads, .stream = stream};
  if (columns % widest_pack<T> == 0 && is_aligned(source, 16)) {
    launch<embedding_add_kernel<widest_pack<T>, T>>(shape, source, ids, table, partials, count, columns);
  } else {
    launch<embedding_add_kernel<1, T>>(shape, source, ids, table, partials, count, columns);
  }
  if (shares == 1) return;
  launch<add_shares_kernel<T>>(
      {.blocks = blocks_for(rows * columns, row_threads), .threads = row_threads, .stream = stream}, partials, table,
      shares, rows * columns);
}

template <class T>
void scatter_add(const T* source, const std::int64_t* index, T* table, const Shape& table_shape,
                 const Shape& index_shape, int axis, Stream stream) {
  const ScatteredAxis axes(table_shape, index_shape, axis);
  if (axes.elements == 0) return;
  if (axes.step() > 1 || index_shape[axis] <= 16) return scatter_by_threads(source, index, table, axes, stream);
  launch<scatter_by_warps_kernel<T>>(
      {.blocks = blocks_for(axes.elements, warps_of_block), .threads = row_threads, .stream = stream}, source, index,
      table, axes);
}

template <class T>
void embedding_add_naive(const T* source, const std::int64_t* ids, T* table, std::int64_t count, std::int64_t rows,
                         std::int64_t columns, Stream stream) {
  if (rows * columns == 0) return;
  launch<embedding_add_naive_kernel<T>>(
      {.blocks = blocks_for(rows * columns, row_threads), .threads = row_threads, .stream = stream}, source, ids, table,
      count, rows, columns);
}

template <class T>
void scatter_add_naive(const T* source, const std::int64_t* index, T* table, const Shape& table_shape,
                       const Shape& index_shape, int axis, Stream stream) {
  const ScatteredAxis axes(table_shape, index_shape, axis);
  if (axes.elements > 0) scatter_by_threads(source, index, table, axes, stream);
}

#define GRADUS_INSTANTIATE(T) \
  template void gather(const T*, const std::int64_t*, T*, const Shape&, const Shape&, int, Stream);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)
GRADUS_INSTANTIATE(std::int64_t)
GRADUS_INSTANTIATE(std::int32_t)
GRADUS_INSTANTIATE(std::uint8_t)
GRADUS_INSTANTIATE(bool)
#undef GRADUS_INSTANTIATE

#define GRADUS_INSTANTIATE(T)                                                                                    \
  template void embedding_add(const T*, const std::int64_t*, T*, Arithmetic<T>*, std::int64_t, std::int64_t,     \
                              std::int64_t, Stream);                                                             \
  template void scatter_add(const T*, const std::int64_t*, T*, const Shape&, const Shape&, int, Stream);         \
  template void embedding_add_naive(const T*, const std::int64_t*, T*, std::int64_t, std::int64_t, std::int64_t, \
                                    Stream);                                                                     \
  template void scatter_add_naive(const T*, const std::int64_t*, T*, const Shape&, const Shape&, int, Stream);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)

}  // namespace gradus::cuda
