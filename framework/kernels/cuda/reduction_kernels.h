// How every reduction over axes runs, whatever it folds. Two kernels share the work in two ways:
//   by rows      a group of neighbouring threads folds one result: the elements of a result are neighbours in memory
//   by columns   neighbouring threads fold neighbouring results: these are neighbours, as in a bias gradient
// Where there are few results, the elements of each are cut into chunks, a block for each; the folds of the chunks lie
// in the workspace until the same kernel folds them too. For kernel files.
//
// A fold is a struct of these members:
//   Input, Accumulator             what is read, and what it is folded in
//   empty()                        of no element
//   add(accumulator, value, result, index)   one element more: number `index` of those of the result
//   combine(a, b)                  two folds in one; combine(b, a) is the same
//   finish(result, accumulator)    writes the result
#pragma once

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "framework/kernels/cuda/fold.h"
#include "framework/kernels/cuda/pack.h"
#include "framework/kernels/cuda/reduce.h"

namespace gradus::cuda {

/// The elements of some axes of a strided tensor, numbered in row-major order. At least one axis.
struct StridedAxes {
  std::int64_t count = 1;
  int rank = 1;
  std::int64_t sizes[max_rank] = {1};
  std::int64_t strides[max_rank] = {};

  __device__ __forceinline__ std::int64_t offset(std::int64_t index) const {
    std::int64_t offset = 0;
#pragma unroll
    for (int axis = max_rank - 1; axis > 0; --axis) {
      if (axis < rank) {
        offset += index % sizes[axis] * strides[axis];
        index /= sizes[axis];
      }
    }
    return offset + index * strides[0];
  }

  /// One axis more, the new last one; merged with the last one where they are as one.
  void append(std::int64_t size, std::int64_t stride) {
    const int last = rank - 1;
    count *= size;
    if (size == 1) return;
    if (sizes[last] == 1) {
      sizes[last] = size;
      strides[last] = stride;
    } else if (strides[last] == size * stride) {
      sizes[last] *= size;
      strides[last] = stride;
    } else {
      sizes[rank] = size;
      strides[rank] = stride;
      ++rank;
    }
  }

  /// The least distance of neighbours in memory; none: the largest number.
  std::int64_t nearest() const {
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (int axis = 0; axis < rank; ++axis) {
      if (sizes[axis] > 1 && strides[axis] != 0) least = std::min<std::int64_t>(least, std::abs(strides[axis]));
    }
    return least;
  }

  /// Starting at any multiple of `pack`, the next `pack` elements are neighbours, in a place that is a multiple of it.
  bool in_packs_of(int pack) const {
    for (int axis = 0; axis + 1 < rank; ++axis) {
      if (strides[axis] % pack != 0) return false;
    }
    return strides[rank - 1] == 1 && sizes[rank - 1] % pack == 0;
  }
};

struct ReductionPlan {
  StridedAxes kept, reduced;
  bool by_columns;
  std::int64_t chunk, chunks;  // elements in a chunk, chunks of a result
};

inline constexpr int reduction_threads = 256;  // of a block by rows
inline constexpr int columns_of_block = 128;   // about; cut into chunks as if it were so for packs of any width
inline constexpr std::int64_t enough_blocks = 512;

inline void cut_into_chunks(ReductionPlan& plan) {
  const std::int64_t count = plan.reduced.count;
  const std::int64_t blocks = plan.by_columns ? blocks_for(plan.kept.count, columns_of_block) : plan.kept.count;
  const std::int64_t least = plan.by_columns ? 64 : 8192;  // elements worth a block
  const std::int64_t most_chunks = std::max<std::int64_t>(1, enough_blocks / std::max<std::int64_t>(1, blocks));
  plan.chunk = std::max(least, blocks_for(count, most_chunks));
  if (!plan.by_columns) plan.chunk = blocks_for(plan.chunk, 16) * 16;  // so that each starts at a whole pack
  plan.chunk = std::min(plan.chunk, std::max<std::int64_t>(1, count));
  plan.chunks = std::max<std::int64_t>(1, blocks_for(count, plan.chunk));
}

inline ReductionPlan plan_reduction(const ReducedAxes& axes) {
  ReductionPlan plan;
  for (int axis = 0; axis < axes.shape.rank(); ++axis) {
    (axes.reduced[axis] ? plan.reduced : plan.kept).append(axes.shape[axis], axes.strides[axis]);
  }
  plan.by_columns = plan.kept.nearest() < plan.reduced.nearest();
  cut_into_chunks(plan);
  return plan;
}

/// What the folds of the chunks take.
inline std::size_t bytes_of_chunks(const ReductionPlan& plan, std::size_t bytes_of_accumulator) {
  return plan.chunks > 1 ? plan.kept.count * plan.chunks * bytes_of_accumulator : 0;
}

/// The plan that folds the chunks of `first`, as its kernel leaves them.
inline ReductionPlan plan_of_chunks(const ReductionPlan& first) {
  ReductionPlan plan{.kept = {}, .reduced = {}, .by_columns = first.by_columns, .chunk = first.chunks, .chunks = 1};
  plan.kept.append(first.kept.count, first.by_columns ? 1 : first.chunks);
  plan.reduced.append(first.chunks, first.by_columns ? first.kept.count : 1);
  return plan;
}

/// Threads for each result by rows: a part of a warp, or a whole block.
inline int threads_for_row(const ReductionPlan& plan) {
  const std::int64_t count = plan.chunk, rows = plan.kept.count * plan.chunks;
  if (count > 1024 || (rows < enough_blocks && count > 256)) return reduction_threads;
  int threads = 1;
  while (threads < 32 && threads * 8 < count) threads *= 2;
  return threads;
}

namespace {

/// The folds of chunks are folded as the elements are.
template <class Fold>
struct FoldOfChunks {
  using Input = typename Fold::Accumulator;
  using Accumulator = Input;
  Fold fold;

  __device__ Accumulator empty() const { return fold.empty(); }
  __device__ Accumulator add(Accumulator a, Input b, std::int64_t, std::int64_t) const { return fold.combine(a, b); }
  __device__ Accumulator combine(Accumulator a, Accumulator b) const { return fold.combine(a, b); }
  __device__ void finish(std::int64_t result, Accumulator a) const { fold.finish(result, a); }
};

/// To its result, or as one of several chunks to the workspace.
template <class Fold>
__device__ __forceinline__ void deliver(const Fold& fold, typename Fold::Accumulator folded, std::int64_t result,
                                        typename Fold::Accumulator* chunks, std::int64_t place) {
  if (gridDim.y > 1) chunks[place] = folded;
  else fold.finish(result, folded);
}

/// Up to `pack` elements, in one load where they lie so.
template <int pack, class Fold>
__device__ __forceinline__ typename Fold::Accumulator add_neighbours(const Fold& fold,
                                                                     typename Fold::Accumulator folded,
                                                                     const typename Fold::Input* from,
                                                                     std::int64_t result, std::int64_t index,
                                                                     std::int64_t count) {
  if (count >= pack && is_aligned(from, pack * sizeof(*from))) {
    const auto values = load_pack<pack>(from);
#pragma unroll
    for (int i = 0; i < pack; ++i) folded = fold.add(folded, values[i], result, index + i);
  } else {
    for (int i = 0; i < pack && i < count; ++i) folded = fold.add(folded, from[i], result, index + i);
  }
  return folded;
}

/// A group of threads for each result (x) and chunk (y). In packs if neighbours of the one reduced axis are neighbours
/// in memory. Chunks are left as (results, chunks).
template <class Fold, int pack>
__global__ void __launch_bounds__(reduction_threads)
    fold_rows_kernel(Fold fold, const typename Fold::Input* x, StridedAxes kept, StridedAxes reduced, int group,
                     std::int64_t chunk, typename Fold::Accumulator* chunks) {
  const std::int64_t result = std::int64_t{blockIdx.x} * (blockDim.x / group) + threadIdx.x / group;
  const std::int64_t begin = blockIdx.y * chunk;
  const std::int64_t end = begin + chunk < reduced.count ? begin + chunk : reduced.count;
  const int member = threadIdx.x % group;
  auto folded = fold.empty();
  if (result < kept.count) {
    const auto* row = x + kept.offset(result);
    for (std::int64_t i = begin + member * pack; i < end; i += group * pack) {
      if constexpr (pack > 1) folded = add_neighbours<pack>(fold, folded, row + i, result, i, end - i);
      else folded = fold.add(folded, row[reduced.offset(i)], result, i);
    }
  }
  const auto combine = [&](auto a, auto b) { return fold.combine(a, b); };
  folded = group > 32 ? fold_block(folded, fold.empty(), combine) : fold_lanes(folded, group, combine);
  if (member == 0 && result < kept.count) {
    deliver(fold, folded, result, chunks, result * gridDim.y + blockIdx.y);
  }
}

/// A lane for each `pack` neighbouring results (x) and chunk (y); the warps take turns at the elements. Chunks are left
/// as (chunks, results).
template <class Fold, int pack>
__global__ void __launch_bounds__(1024)
    fold_columns_kernel(Fold fold, const typename Fold::Input* x, StridedAxes kept, StridedAxes reduced,
                        std::int64_t chunk, typename Fold::Accumulator* chunks) {
  using Accumulator = typename Fold::Accumulator;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  const std::int64_t first_of_block = std::int64_t{blockIdx.x} * 32 * pack, first = first_of_block + lane * pack;
  const std::int64_t begin = blockIdx.y * chunk;
  const std::int64_t end = begin + chunk < reduced.count ? begin + chunk : reduced.count;
  Accumulator folded[pack];
#pragma unroll
  for (int i = 0; i < pack; ++i) folded[i] = fold.empty();
  if (first < kept.count) {
    const auto* column = x + kept.offset(first);
    for (std::int64_t index = begin + warp; index < end; index += warps) {
      const auto values = load_pack<pack>(column + reduced.offset(index));
#pragma unroll
      for (int i = 0; i < pack; ++i) folded[i] = fold.add(folded[i], values[i], first + i, index);
    }
  }
  Accumulator* of_warps = dynamic_shared<Accumulator>();  // (warps, pack, 32)
#pragma unroll
  for (int i = 0; i < pack; ++i) of_warps[(warp * pack + i) * 32 + lane] = folded[i];
  __syncthreads();
  for (int place = threadIdx.x; place < pack * 32; place += blockDim.x) {
    Accumulator total = of_warps[place];
    for (int other = 1; other < warps; ++other) total = fold.combine(total, of_warps[other * pack * 32 + place]);
    const std::int64_t result = first_of_block + place % 32 * pack + place / 32;
    if (result < kept.count) deliver(fold, total, result, chunks, blockIdx.y * kept.count + result);
  }
}

template <int pack, class Fold>
void launch_fold(const Fold& fold, const typename Fold::Input* x, const ReductionPlan& plan,
                 typename Fold::Accumulator* chunks, Stream stream) {
  if (plan.by_columns) {
    const std::int64_t warps = std::clamp<std::int64_t>(blocks_for(plan.chunk, 8), 1, 32);
    launch<fold_columns_kernel<Fold, pack>>({.blocks = {blocks_for(plan.kept.count, 32 * pack), plan.chunks},
                                             .threads = 32 * warps,
                                             .shared_bytes = warps * pack * 32 * sizeof(typename Fold::Accumulator),
                                             .stream = stream},
                                            fold, x, plan.kept, plan.reduced, plan.chunk, chunks);
  } else {
    const int group = threads_for_row(plan);
    launch<fold_rows_kernel<Fold, pack>>(
        {.blocks = {blocks_for(plan.kept.count * group, reduction_threads), plan.chunks},
         .threads = reduction_threads,
         .stream = stream},
        fold, x, plan.kept, plan.reduced, group, plan.chunk, chunks);
  }
}

/// In packs where the strides allow it. What the address decides changes no order.
template <int pack, class Fold>
void launch_fold_in_packs(const Fold& fold, const typename Fold::Input* x, const ReductionPlan& plan,
                          typename Fold::Accumulator* chunks, Stream stream) {
  const bool packs = plan.by_columns ? plan.kept.in_packs_of(pack) && is_aligned(x, pack * sizeof(*x)) &&
                                           std::all_of(plan.reduced.strides, plan.reduced.strides + plan.reduced.rank,
                                                       [](std::int64_t stride) { return stride % pack == 0; })
                                     : plan.reduced.rank == 1 && plan.reduced.strides[0] == 1;
  if (packs) launch_fold<pack>(fold, x, plan, chunks, stream);
  else launch_fold<1>(fold, x, plan, chunks, stream);
}

/// The whole reduction. The workspace has bytes_of_chunks() bytes.
template <int pack, class Fold>
void run_reduction(const Fold& fold, const typename Fold::Input* x, const ReductionPlan& plan, void* workspace,
                   Stream stream) {
  if (plan.kept.count == 0) return;
  auto* chunks = static_cast<typename Fold::Accumulator*>(workspace);
  launch_fold_in_packs<pack>(fold, x, plan, chunks, stream);
  if (plan.chunks > 1) launch_fold<1>(FoldOfChunks<Fold>{fold}, chunks, plan_of_chunks(plan), nullptr, stream);
}

}  // namespace

}  // namespace gradus::cuda
