// Attention by tiles: a block of threads takes a tile of queries (in backward also one of keys) and goes over the tiles
// of what these meet. Tiles lie in shared memory, in the type of the arithmetic; the threads form a grid of 8 rows and
// 16 columns, and each keeps every 8th row and every 16th column of a product in registers. So a row of scores belongs
// to half a warp, which finds its maximum and sums by shuffles.
//
// In backward no thread adds to what another one wrote: one kernel goes over the queries and has dq and the dots, a
// second one over the keys and has dk and dv. Both compute the weights anew from the saved log-sums.
#include "framework/kernels/cuda/attention_problem.h"

namespace gradus::cuda::attention {
namespace {

constexpr int threads = 128, thread_rows = 8, thread_columns = 16;

__device__ __forceinline__ int own_row() { return threadIdx.x / thread_columns; }
__device__ __forceinline__ int own_column() { return threadIdx.x % thread_columns; }

/// Sizes of the tiles: `edge` queries or keys, features up to `width`.
template <class T_, int edge_, int width_>
struct Tiles {
  using T = T_;
  using A = Arithmetic<T>;
  static constexpr int edge = edge_, width = width_;
  static constexpr int pitch = width + 1, score_pitch = edge + 1;  // odd: a column's elements lie in different banks
  static constexpr int rows = edge / thread_rows, columns = edge / thread_columns, features = width / thread_columns;

  using Scores = A[rows][columns];  // of a thread
  using Features = A[rows][features];

  /// Shared memory of `operands` tiles (edge, pitch), and `scores` tiles (edge, score_pitch).
  static constexpr std::size_t shared_bytes(int operands, int scores) {
    return (operands * edge * pitch + scores * edge * score_pitch) * sizeof(A) +
           edge * (edge / 32) * sizeof(std::uint32_t);
  }
};

/// Rows first..first+count-1 of a head times `factor`; zeros behind the last row and the last feature.
template <class Tiles, class View, class A = typename Tiles::A>
__device__ __forceinline__ void load_rows(A* to, const View& view, const Work& work, int first, int count, int width,
                                          A factor) {
  const auto* from = row_of(view, work, first);
#pragma unroll 4
  for (int index = threadIdx.x; index < Tiles::edge * Tiles::width; index += threads) {
    const int row = index / Tiles::width, feature = index % Tiles::width;
    to[row * Tiles::pitch + feature] =
        row < count && feature < width ? A(from[row * view.row_stride + feature]) * factor : A(0);
  }
}

/// A thread's part of rows first..first+count-1 of a head.
template <class Tiles, class View, class A = typename Tiles::A>
__device__ __forceinline__ void store_rows(const View& view, const typename Tiles::Features& from,
                                           const A (&factors)[Tiles::rows], const Work& work, int first, int count,
                                           int width) {
  auto* to = row_of(view, work, first);
#pragma unroll
  for (int r = 0; r < Tiles::rows; ++r) {
    const int row = own_row() + thread_rows * r;
#pragma unroll
    for (int c = 0; c < Tiles::features; ++c) {
      const int feature = own_column() + thread_columns * c;
      if (row < count && feature < width)
        to[row * view.row_stride + feature] = typename Tiles::T(from[r][c] * factors[r]);
    }
  }
}

/// A matrix in shared memory: element (i, j) is data[i * row + j * column].
template <class A>
struct Matrix {
  const A* data;
  int row, column;
};

/// sums += a b over `inner`: a thread's rows of a, its columns of b.
template <int rows, int columns, class A>
__device__ __forceinline__ void accumulate_product(A (&sums)[rows][columns], Matrix<A> a, Matrix<A> b, int inner) {
  a.data += own_row() * a.row;
  b.data += own_column() * b.column;
#pragma unroll 2
  for (int i = 0; i < inner; ++i) {
    A of_a[rows], of_b[columns];
#pragma unroll
    for (int r = 0; r < rows; ++r) of_a[r] = a.data[r * thread_rows * a.row + i * a.column];
#pragma unroll
    for (int c = 0; c < columns; ++c) of_b[c] = b.data[i * b.row + c * thread_columns * b.column];
#pragma unroll
    for (int r = 0; r < rows; ++r) {
#pragma unroll
      for (int c = 0; c < columns; ++c) sums[r][c] += of_a[r] * of_b[c];
    }
  }
}

/// Over the half warp of a row.
template <class A>
__device__ __forceinline__ A sum_of_row(A value) {
#pragma unroll
  for (int distance = thread_columns / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}
template <class A>
__device__ __forceinline__ A largest_of_row(A value) {
#pragma unroll
  for (int distance = thread_columns / 2; distance > 0; distance /= 2) {
    const A other = __shfl_xor_sync(0xffffffffu, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

template <class Tiles, class A = typename Tiles::A>
__device__ __forceinline__ bool is_kept(const std::uint32_t* kept, const Problem<A>& problem, int row, int column) {
  return kept_from<Tiles::edge>(kept, problem, row, column) & 1;
}

template <class Tiles>
__global__ void __launch_bounds__(threads, 1)
    forward_kernel(const __grid_constant__ Problem<typename Tiles::A> problem,
                   const __grid_constant__ AttentionForward<typename Tiles::T> operands,
                   const __grid_constant__ Segments segments) {
  using A = typename Tiles::A;
  constexpr int edge = Tiles::edge, pitch = Tiles::pitch, score_pitch = Tiles::score_pitch;
  constexpr A none = -std::numeric_limits<A>::infinity();
  A* const queries = dynamic_shared<A>();
  A *const keys = queries + edge * pitch, *const values = keys + edge * pitch, *const weights = values + edge * pitch;
  auto* const kept = reinterpret_cast<std::uint32_t*>(weights + edge * score_pitch);
  const Work work = work_of_block(problem, segments);
  const Segment& segment = work.segment;
  const int query = work.tile * edge, rows = min(edge, segment.queries - query);
  const int visible = seen_keys(problem, segment, query + rows - 1);
  load_rows<Tiles>(queries, operands.q, work, segment.first_query + query, rows, problem.width, problem.scale);
  A peaks[Tiles::rows], sums[Tiles::rows];  // of the row so far; the sum only of this thread's columns
  typename Tiles::Features mixed = {};
#pragma unroll
  for (int r = 0; r < Tiles::rows; ++r) {
    peaks[r] = none;
    sums[r] = 0;
  }
  for (int key = 0; key < visible; key += edge) {
    const int columns = min(edge, visible - key);
    __syncthreads();  // the last tiles have been used
    load_rows<Tiles>(keys, operands.k, work, segment.first_key + key, columns, problem.width, A(1));
    load_rows<Tiles>(values, operands.v, work, segment.first_key + key, columns, problem.value_width, A(1));
    draw_kept<edge>(kept, problem, work, query, rows, key);
    __syncthreads();
    typename Tiles::Scores scores = {};
    accumulate_product(scores, Matrix<A>{queries, pitch, 1}, Matrix<A>{keys, 1, pitch}, problem.width);
#pragma unroll
    for (int r = 0; r < Tiles::rows; ++r) {
      const int row = own_row() + thread_rows * r, seen = seen_keys(problem, segment, query + row) - key;
      A peak = peaks[r];
#pragma unroll
      for (int c = 0; c < Tiles::columns; ++c) {
        if (own_column() + thread_columns * c < seen && scores[r][c] > peak) peak = scores[r][c];
      }
      peak = largest_of_row(peak);
      const A subtracted = peak == none ? A(0) : peak;  // else a row of nothing but -inf so far would be NaN
      const A shrunk = functions::exp(peaks[r] - subtracted);
      peaks[r] = peak;
      sums[r] *= shrunk;
#pragma unroll
      for (int c = 0; c < Tiles::features; ++c) mixed[r][c] *= shrunk;
#pragma unroll
      for (int c = 0; c < Tiles::columns; ++c) {
        const int column = own_column() + thread_columns * c;
        const A weight = column < seen ? functions::exp(scores[r][c] - subtracted) : A(0);
        sums[r] += weight;
        weights[row * score_pitch + column] = row < rows && is_kept<Tiles>(kept, problem, row, column) ? weight : A(0);
      }
    }
    __syncwarp();  // a row of weights is read by the half warp that wrote it
    accumulate_product(mixed, Matrix<A>{weights, score_pitch, 1}, Matrix<A>{values, pitch, 1}, columns);
  }
  A factors[Tiles::rows];
#pragma unroll
  for (int r = 0; r < Tiles::rows; ++r) {
    const int row = own_row() + thread_rows * r;
    const A sum = sum_of_row(sums[r]);
    factors[r] = problem.keep_scale / sum;
    if (row < rows && own_column() == 0) {
      operands.log_sums[work.pair * problem.queries + segment.first_query + query + row] =
          peaks[r] + functions::log(sum);
    }
  }
  store_rows<Tiles>(operands.out, mixed, factors, work, segment.first_query + query, rows, problem.value_width);
}

/// A thread's weights, not dropped, and dL/d weights, where a query sees the key; 0 elsewhere. queries are scaled,
/// cotangents times 1 / (1 - dropout). log_sums: of the thread's rows.
template <class Tiles, class A = typename Tiles::A>
__device__ __forceinline__ void weights_and_gradients(typename Tiles::Scores& weights,
                                                      typename Tiles::Scores& gradients, const A* queries,
                                                      const A* keys, const A* cotangents, const A* values,
                                                      const A (&log_sums)[Tiles::rows], const std::uint32_t* kept,
                                                      const Problem<A>& problem, const Segment& segment, int query,
                                                      int rows, int key) {
  constexpr int pitch = Tiles::pitch;
#pragma unroll
  for (int r = 0; r < Tiles::rows; ++r) {
#pragma unroll
    for (int c = 0; c < Tiles::columns; ++c) weights[r][c] = gradients[r][c] = 0;
  }
  accumulate_product(weights, Matrix<A>{queries, pitch, 1}, Matrix<A>{keys, 1, pitch}, problem.width);
  accumulate_product(gradients, Matrix<A>{cotangents, pitch, 1}, Matrix<A>{values, 1, pitch}, problem.value_width);
#pragma unroll
  for (int r = 0; r < Tiles::rows; ++r) {
    const int row = own_row() + thread_rows * r;
    const int seen = row < rows ? seen_keys(problem, segment, query + row) - key : 0;
#pragma unroll
    for (int c = 0; c < Tiles::columns; ++c) {
      const int column = own_column() + thread_columns * c;
      weights[r][c] = column < seen ? functions::exp(weights[r][c] - log_sums[r]) : A(0);
      gradients[r][c] = column < seen && is_kept<Tiles>(kept, problem, row, column) ? gradients[r][c] : A(0);
    }
  }
}

/// A tile of queries meets all keys that it sees twice: first for the dots, then for dq. If one tile of keys is all,
/// the second time has what it needs.
template <class Tiles>
__global__ void __launch_bounds__(threads, 1)
    query_gradient_kernel(const __grid_constant__ Problem<typename Tiles::A> problem,
                          const __grid_constant__ AttentionBackward<typename Tiles::T> operands,
                          const __grid_constant__ Segments segments) {
  using A = typename Tiles::A;
  constexpr int edge = Tiles::edge, pitch = Tiles::pitch, score_pitch = Tiles::score_pitch;
  A* const queries = dynamic_shared<A>();
  A *const cotangents = queries + edge * pitch, *const keys = cotangents + edge * pitch,
           *const values = keys + edge * pitch, *const score_gradients = values + edge * pitch;
  auto* const kept = reinterpret_cast<std::uint32_t*>(score_gradients + edge * score_pitch);
  const Work work = work_of_block(problem, segments);
  const Segment& segment = work.segment;
  const int query = work.tile * edge, rows = min(edge, segment.queries - query), t = segment.first_query + query;
  const int visible = seen_keys(problem, segment, query + rows - 1);
  load_rows<Tiles>(queries, operands.q, work, t, rows, problem.width, problem.scale);
  load_rows<Tiles>(cotangents, operands.g, work, t, rows, problem.value_width, problem.keep_scale);
  A log_sums[Tiles::rows], dots[Tiles::rows];
#pragma unroll
  for (int r = 0; r < Tiles::rows; ++r) {
    const int row = own_row() + thread_rows * r;
    log_sums[r] = row < rows ? operands.log_sums[work.pair * problem.queries + t + row] : A(0);
    dots[r] = 0;
  }
  typename Tiles::Scores weights, gradients;
  const auto meet = [&](int key) {
    const int columns = min(edge, visible - key);
    __syncthreads();
    load_rows<Tiles>(keys, operands.k, work, segment.first_key + key, columns, problem.width, A(1));
    load_rows<Tiles>(values, operands.v, work, segment.first_key + key, columns, problem.value_width, A(1));
    draw_kept<edge>(kept, problem, work, query, rows, key);
    __syncthreads();
    weights_and_gradients<Tiles>(weights, gradients, queries, keys, cotangents, values, log_sums, kept, problem,
                                 segment, query, rows, key);
  };
  for (int key = 0; key < visible; key += edge) {
    meet(key);
#pragma unroll
    for (int r = 0; r < Tiles::rows; ++r) {
#pragma unroll
      for (int c = 0; c < Tiles::columns; ++c) dots[r] += weights[r][c] * gradients[r][c];
    }
  }
#pragma unroll
  for (int r = 0; r < Tiles::rows; ++r) {
    const int row = own_row() + thread_rows * r;
    dots[r] = sum_of_row(dots[r]);
    if (row < rows && own_column() == 0) operands.dots[work.pair * problem.queries + t + row] = dots[r];
  }
  typename Tiles::Features dq = {};
  for (int key = 0; key < visible; key += edge) {
    if (visible > edge) meet(key);
#pragma unroll
    for (int r = 0; r < Tiles::rows; ++r) {
#pragma unroll
      for (int c = 0; c < Tiles::columns; ++c) {
        score_gradients[(own_row() + thread_rows * r) * score_pitch + own_column() + thread_columns * c] =
            weights[r][c] * (gradients[r][c] - dots[r]);
      }
    }
    __syncwarp();  // a row is read by the half warp that wrote it
    accumulate_product(dq, Matrix<A>{score_gradients, score_pitch, 1}, Matrix<A>{keys, pitch, 1},
                       min(edge, visible - key));
  }
  A factors[Tiles::rows];
#pragma unroll
  for (int r = 0; r < Tiles::rows; ++r) factors[r] = problem.scale;
  store_rows<Tiles>(operands.dq, dq, factors, work, t, rows, problem.width);
}

/// A tile of keys meets all queries that see one of them.
template <class Tiles>
__global__ void __launch_bounds__(threads, 1)
    key_gradient_kernel(const __grid_constant__ Problem<typename Tiles::A> problem,
                        const __grid_constant__ AttentionBackward<typename Tiles::T> operands,
                        const __grid_constant__ Segments segments) {
  using A = typename Tiles::A;
  constexpr int edge = Tiles::edge, pitch = Tiles::pitch, score_pitch = Tiles::score_pitch;
  A* const queries = dynamic_shared<A>();
  A *const cotangents = queries + edge * pitch, *const keys = cotangents + edge * pitch,
           *const values = keys + edge * pitch, *const kept_weights = values + edge * pitch,
           *const score_gradients = kept_weights + edge * score_pitch;
  auto* const kept = reinterpret_cast<std::uint32_t*>(score_gradients + edge * score_pitch);
  const Work work = work_of_block(problem, segments);
  const Segment& segment = work.segment;
  const int key = work.tile * edge, columns = min(edge, segment.keys - key), t = segment.first_key + key;
  load_rows<Tiles>(keys, operands.k, work, t, columns, problem.width, A(1));
  load_rows<Tiles>(values, operands.v, work, t, columns, problem.value_width, A(1));
  typename Tiles::Features dk = {}, dv = {};
  for (int query = problem.causal ? key : 0; query < segment.queries; query += edge) {
    const int rows = min(edge, segment.queries - query), first_row = segment.first_query + query;
    __syncthreads();  // the last tiles have been used
    load_rows<Tiles>(queries, operands.q, work, first_row, rows, problem.width, problem.scale);
    load_rows<Tiles>(cotangents, operands.g, work, first_row, rows, problem.value_width, problem.keep_scale);
    draw_kept<edge>(kept, problem, work, query, rows, key);
    A log_sums[Tiles::rows], dots[Tiles::rows];
#pragma unroll
    for (int r = 0; r < Tiles::rows; ++r) {
      const int row = own_row() + thread_rows * r;
      const std::int64_t number = work.pair * problem.queries + first_row + row;
      log_sums[r] = row < rows ? operands.log_sums[number] : A(0);
      dots[r] = row < rows ? operands.dots[number] : A(0);
    }
    __syncthreads();
    typename Tiles::Scores weights, gradients;
    weights_and_gradients<Tiles>(weights, gradients, queries, keys, cotangents, values, log_sums, kept, problem,
                                 segment, query, rows, key);
#pragma unroll
    for (int r = 0; r < Tiles::rows; ++r) {
#pragma unroll
      for (int c = 0; c < Tiles::columns; ++c) {
        const int row = own_row() + thread_rows * r, column = own_column() + thread_columns * c;
        kept_weights[row * score_pitch + column] =
            row < rows && is_kept<Tiles>(kept, problem, row, column) ? weights[r][c] : A(0);
        score_gradients[row * score_pitch + column] = weights[r][c] * (gradients[r][c] - dots[r]);
      }
    }
    __syncthreads();
    accumulate_product(dk, Matrix<A>{score_gradients, 1, score_pitch}, Matrix<A>{queries, pitch, 1}, rows);
    accumulate_product(dv, Matrix<A>{kept_weights, 1, score_pitch}, Matrix<A>{cotangents, pitch, 1}, rows);
  }
  A factors[Tiles::rows];
#pragma unroll
  for (int r = 0; r < Tiles::rows; ++r) factors[r] = 1;
  store_rows<Tiles>(operands.dk, dk, factors, work, t, columns, problem.width);
  store_rows<Tiles>(operands.dv, dv, factors, work, t, columns, problem.value_width);
}

/// Calls body.template operator()<Tiles>() with tiles for these operands: 64 rows, or 32 where these are enough for
/// most segments, features are many or numbers are long.
template <class T, class Body>
void with_tiles(const AttentionShape& shape, const Body& body) {
  const std::int64_t width = std::max(shape.width, shape.value_width);
  if constexpr (sizeof(Arithmetic<T>) == sizeof(float)) {
    const bool are_short = shape.queries <= 32 * static_cast<std::int64_t>(shape.segments.size());
    if (width <= 32 && !are_short) return body.template operator()<Tiles<T, 64, 32>>();
    if (width <= 64 && !are_short) return body.template operator()<Tiles<T, 64, 64>>();
  }
  if (width <= 32) return body.template operator()<Tiles<T, 32, 32>>();
  if (width <= 64) return body.template operator()<Tiles<T, 32, 64>>();
  body.template operator()<Tiles<T, 32, most_tiled_width>>();
}

}  // namespace

template <class T>
void tiled_forward(const AttentionShape& shape, const AttentionForward<T>& operands, Stream stream) {
  const auto problem = problem_of<Arithmetic<T>>(shape);
  with_tiles<T>(shape, [&]<class Tiles>() {
    for_each_launch(
        shape.segments, &AttentionSegment::queries, Tiles::edge, shape.batches * shape.heads,
        [&](const Segments& segments, std::int64_t blocks) {
          launch<forward_kernel<Tiles>>(
              {.blocks = blocks, .threads = threads, .shared_bytes = Tiles::shared_bytes(3, 1), .stream = stream},
              problem, operands, segments);
        });
  });
}

template <class T>
void tiled_backward(const AttentionShape& shape, const AttentionBackward<T>& operands, Stream stream) {
  const auto problem = problem_of<Arithmetic<T>>(shape);
  const std::int64_t pairs = shape.batches * shape.heads;
  with_tiles<T>(shape, [&]<class Tiles>() {
    for_each_launch(
        shape.segments, &AttentionSegment::queries, Tiles::edge, pairs,
        [&](const Segments& segments, std::int64_t blocks) {
          launch<query_gradient_kernel<Tiles>>(
              {.blocks = blocks, .threads = threads, .shared_bytes = Tiles::shared_bytes(4, 1), .stream = stream},
              problem, operands, segments);
        });
    for_each_launch(
        shape.segments, &AttentionSegment::keys, Tiles::edge, pairs,
        [&](const Segments& segments, std::int64_t blocks) {
          launch<key_gradient_kernel<Tiles>>(
              {.blocks = blocks, .threads = threads, .shared_bytes = Tiles::shared_bytes(4, 2), .stream = stream},
              problem, operands, segments);
        });
  });
}

#define GRADUS_INSTANTIATE(T)                                                             \
  template void tiled_forward(const AttentionShape&, const AttentionForward<T>&, Stream); \
  template void tiled_backward(const AttentionShape&, const AttentionBackward<T>&, Stream);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::cuda::attention
