// Attention in bf16 on tensor cores, which multiply (16,16) by (16,8) and add in f32. A warp takes 16 queries at a
// time, so that a row of scores lies in the registers of four neighbouring lanes: with g = lane / 4 and t = lane % 4, a
// lane has columns 2t and 2t + 1 of every 8 of the rows g and g + 8. Such a pair of scores, packed to bf16, is just
// what the next product takes as its left factor: the weights need not go through memory.
//
//   forward    a block has 64 queries and goes over tiles of 64 keys
//   backward   a block has a whole segment, of up to 128 queries and keys. Each warp computes rows of the weights and
//   of
//              dL/d scores, and dq from them; these rows are left in shared memory, where each warp then finds the
//              columns that dk and dv need. So everything is computed once, and nobody adds to what another one wrote.
#include "framework/kernels/cuda/asynchronous_copy.h"
#include "framework/kernels/cuda/attention_problem.h"
#include "framework/kernels/cuda/tensor_core.h"

namespace gradus::cuda::attention {
namespace {

constexpr int warp_rows = 16;

__device__ __forceinline__ int warp_number() { return threadIdx.x / 32; }
__device__ __forceinline__ int lane_number() { return threadIdx.x % 32; }

/// Tiles (rows, pitch) of bf16 in shared memory. 16 bytes more than the width: eight rows begin in different banks.
template <int width>
inline constexpr int pitch_of = width + 8;

/// Asks for rows first..first+count-1 of a head; zeros behind the last row and the last feature. Behind it belong
/// wait_for_copies() and a barrier.
template <int rows, int width, class View>
__device__ __forceinline__ void fetch_rows(bfloat16* to, const View& view, const Work& work, int first, int count,
                                           int features) {
  const bfloat16* from = row_of(view, work, first);
  for (int index = threadIdx.x; index < rows * (width / 8); index += blockDim.x) {
    const int row = index / (width / 8), feature = index % (width / 8) * 8;
    bfloat16* place = to + row * pitch_of<width> + feature;
    if (row < count && feature < features) {
      copy_asynchronously<16>(place, from + row * view.row_stride + feature);
    } else {
      *reinterpret_cast<uint4*>(place) = make_uint4(0, 0, 0, 0);
    }
  }
}

/// The left factor: rows row..row+15 and columns column..column+15 of a tile.
template <int pitch>
__device__ __forceinline__ void load_left(std::uint32_t (&registers)[4], const bfloat16* tile, int row, int column) {
  const int lane = lane_number();
  load_matrices(registers, tile + (row + lane % 16) * pitch + column + lane / 16 * 8);
}
/// The same of the transposed tile: its rows are columns `row`.. here.
template <int pitch>
__device__ __forceinline__ void load_left_transposed(std::uint32_t (&registers)[4], const bfloat16* tile, int row,
                                                     int column) {
  const int lane = lane_number();
  load_matrices<true>(registers, tile + (column + lane / 16 * 8 + lane % 8) * pitch + row + lane / 8 % 2 * 8);
}

/// sums (16,16) += left times the right factor (16,16), of which `right` has the columns 0..7 in its first two
/// registers.
__device__ __forceinline__ void multiply_pair(float (*sums)[4], const std::uint32_t (&left)[4],
                                              const std::uint32_t (&right)[4]) {
  multiply_bf16(sums[0], left, {right[0], right[1]});
  multiply_bf16(sums[1], left, {right[2], right[3]});
}
/// The right factor is the tile's part at (row, column).
template <int pitch>
__device__ __forceinline__ void multiply_by_tile(float (*sums)[4], const std::uint32_t (&left)[4], const bfloat16* tile,
                                                 int row, int column) {
  std::uint32_t right[4];
  const int lane = lane_number();
  load_matrices<true>(right, tile + (row + lane % 16) * pitch + column + lane / 16 * 8);
  multiply_pair(sums, left, right);
}
/// The right factor is the transposed tile's part at (row, column).
template <int pitch>
__device__ __forceinline__ void multiply_by_transposed_tile(float (*sums)[4], const std::uint32_t (&left)[4],
                                                            const bfloat16* tile, int row, int column) {
  std::uint32_t right[4];
  const int lane = lane_number();
  load_matrices(right, tile + (column + lane / 16 * 8 + lane % 8) * pitch + row + lane / 8 % 2 * 8);
  multiply_pair(sums, left, right);
}

/// Over the four lanes of a row.
__device__ __forceinline__ float sum_of_row(float value) {
  value += __shfl_xor_sync(0xffffffffu, value, 1);
  return value + __shfl_xor_sync(0xffffffffu, value, 2);
}
__device__ __forceinline__ float larger(float a, float b) { return b > a ? b : a; }
__device__ __forceinline__ float largest_of_row(float value) {
  value = larger(value, __shfl_xor_sync(0xffffffffu, value, 1));
  return larger(value, __shfl_xor_sync(0xffffffffu, value, 2));
}

/// The two rows of a lane: number and what they see, counted from the first column.
struct LaneRows {
  int row[2], seen[2];

  __device__ LaneRows(const Problem<float>& problem, const Segment& segment, int first_row, int query, int rows,
                      int key) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      row[half] = first_row + lane_number() / 4 + 8 * half;
      seen[half] = row[half] < rows ? seen_keys(problem, segment, query + row[half]) - key : 0;
    }
  }
};

/// A lane's rows of a matrix (16, width) times a factor for each row, to rows of a head.
template <int width, class View>
__device__ __forceinline__ void store_rows(const View& view, const float (&from)[width / 8][4], float factor0,
                                           float factor1, const Work& work, int first, int row, int count,
                                           int features) {
  const int lane = lane_number();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int own = row + lane / 4 + 8 * half;
    if (own >= count) continue;
    bfloat16* to = row_of(view, work, first + own) + lane % 4 * 2;
    const float factor = half == 0 ? factor0 : factor1;
#pragma unroll
    for (int n = 0; n < width / 8; ++n) {
      if (8 * n < features) {
        *reinterpret_cast<std::uint32_t*>(to + 8 * n) =
            pack_bf16(from[n][2 * half] * factor, from[n][2 * half + 1] * factor);
      }
    }
  }
}

constexpr int forward_edge = 64, forward_threads = 128;

template <int width>
constexpr std::size_t forward_shared_bytes() {
  return 3 * forward_edge * pitch_of<width> * sizeof(bfloat16) + forward_edge * (forward_edge / 32) * 4;
}

template <int width>
__global__ void __launch_bounds__(forward_threads)
    forward_kernel(const __grid_constant__ Problem<float> problem,
                   const __grid_constant__ AttentionForward<bfloat16> operands,
                   const __grid_constant__ Segments segments) {
  constexpr int edge = forward_edge, pitch = pitch_of<width>, pairs = edge / 16;
  constexpr float none = -std::numeric_limits<float>::infinity();
  bfloat16* const queries = dynamic_shared<bfloat16>();
  bfloat16 *const keys = queries + edge * pitch, *const values = keys + edge * pitch;
  auto* const kept = reinterpret_cast<std::uint32_t*>(values + edge * pitch);  // (edge, 2)
  const Work work = work_of_block(problem, segments);
  const Segment& segment = work.segment;
  const int query = work.tile * edge, rows = min(edge, segment.queries - query), first_row = warp_number() * warp_rows;
  const int visible = seen_keys(problem, segment, query + rows - 1);
  fetch_rows<edge, width>(queries, operands.q, work, segment.first_query + query, rows, problem.width);
  float peaks[2] = {none, none}, sums[2] = {0, 0};  // of the rows so far; the sums only of this lane's columns
  float mixed[width / 8][4] = {};
  for (int key = 0; key < visible; key += edge) {
    const int columns = min(edge, visible - key);
    __syncthreads();  // the last tiles have been used
    fetch_rows<edge, width>(keys, operands.k, work, segment.first_key + key, columns, problem.width);
    fetch_rows<edge, width>(values, operands.v, work, segment.first_key + key, columns, problem.value_width);
    commit_copies();
    draw_kept<edge>(kept, problem, work, query, rows, key);
    wait_for_copies<0>();
    __syncthreads();
    const LaneRows lane_rows(problem, segment, first_row, query, rows, key);
    const int warp_seen =
        first_row < rows ? seen_keys(problem, segment, query + min(first_row + 15, rows - 1)) - key : 0;
    if (warp_seen <= 0) continue;  // a whole warp
    float scores[2 * pairs][4] = {};
#pragma unroll
    for (int d = 0; d < width; d += 16) {
      std::uint32_t left[4];
      load_left<pitch>(left, queries, first_row, d);
#pragma unroll
      for (int n = 0; n < pairs; ++n) {
        if (16 * n < warp_seen) multiply_by_transposed_tile<pitch>(scores + 2 * n, left, keys, d, 16 * n);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float peak = peaks[half];
#pragma unroll
      for (int n = 0; n < 2 * pairs; ++n) {
#pragma unroll
        for (int side = 0; side < 2; ++side) {
          float& score = scores[n][2 * half + side];
          score *= problem.scale;
          if (8 * n + lane_number() % 4 * 2 + side < lane_rows.seen[half]) peak = larger(peak, score);
        }
      }
      peak = largest_of_row(peak);
      const float subtracted = peak == none ? 0.0f : peak;  // else a row of nothing but -inf so far would be NaN
      const float shrunk = __expf(peaks[half] - subtracted);
      peaks[half] = peak;
      sums[half] *= shrunk;
#pragma unroll
      for (int n = 0; n < width / 8; ++n) {
        mixed[n][2 * half] *= shrunk;
        mixed[n][2 * half + 1] *= shrunk;
      }
#pragma unroll
      for (int n = 0; n < 2 * pairs; ++n) {
        if (n / 2 * 16 >= warp_seen) continue;
        const std::uint32_t spared = kept_from<edge>(kept, problem, lane_rows.row[half], 8 * n);
#pragma unroll
        for (int side = 0; side < 2; ++side) {
          const int column = lane_number() % 4 * 2 + side;
          float& score = scores[n][2 * half + side];
          const float weight = 8 * n + column < lane_rows.seen[half] ? __expf(score - subtracted) : 0.0f;
          sums[half] += weight;
          score = spared >> column & 1 ? weight : 0.0f;
        }
      }
    }
#pragma unroll
    for (int n = 0; n < pairs; ++n) {
      if (16 * n >= warp_seen) continue;
      const auto* two = scores + 2 * n;
      const std::uint32_t left[4] = {pack_bf16(two[0][0], two[0][1]), pack_bf16(two[0][2], two[0][3]),
                                     pack_bf16(two[1][0], two[1][1]), pack_bf16(two[1][2], two[1][3])};
#pragma unroll
      for (int e = 0; e < width; e += 16) multiply_by_tile<pitch>(mixed + e / 8, left, values, 16 * n, e);
    }
  }
  float factors[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + lane_number() / 4 + 8 * half;
    const float sum = sum_of_row(sums[half]);
    factors[half] = problem.keep_scale / sum;
    if (row < rows && lane_number() % 4 == 0) {
      operands.log_sums[work.pair * problem.queries + segment.first_query + query + row] =
          peaks[half] + functions::log(sum);
    }
  }
  store_rows<width>(operands.out, mixed, factors[0], factors[1], work, segment.first_query + query, first_row, rows,
                    problem.value_width);
}

/// A warp for every 32 rows: it takes 16 from the front and 16 from the back, and so under a causal mask all have as
/// much.
constexpr int backward_threads(int edge) { return edge; }

template <int edge, int width>
constexpr std::size_t backward_shared_bytes() {
  return (4 * edge * pitch_of<width> + 2 * edge * pitch_of<edge>)*sizeof(bfloat16) + edge * (edge / 32) * 4;
}

/// The shared memory of a block in backward.
template <int edge, int width>
struct BackwardTiles {
  bfloat16* queries = dynamic_shared<bfloat16>();
  bfloat16* cotangents = queries + edge * pitch_of<width>;
  bfloat16* keys = cotangents + edge * pitch_of<width>;
  bfloat16* values = keys + edge * pitch_of<width>;
  bfloat16* weights = values + edge * pitch_of<width>;  // (edge, edge), dropped ones 0
  bfloat16* score_gradients = weights + edge * pitch_of<edge>;
  std::uint32_t* kept = reinterpret_cast<std::uint32_t*>(score_gradients + edge * pitch_of<edge>);
};

/// Rows first_row..first_row+15: their weights and dL/d scores, which go to shared memory, and their dq.
template <int edge, int width>
__device__ __forceinline__ void query_gradients(const BackwardTiles<edge, width>& tiles, const Problem<float>& problem,
                                                const AttentionBackward<bfloat16>& operands, const Work& work,
                                                int first_row) {
  constexpr int pitch = pitch_of<width>, score_pitch = pitch_of<edge>, pairs = edge / 16;
  const Segment& segment = work.segment;
  const int rows = segment.queries, column0 = lane_number() % 4 * 2;
  const LaneRows lane_rows(problem, segment, first_row, 0, rows, 0);
  const int visible = seen_keys(problem, segment, min(first_row + warp_rows, rows) - 1);
  float weights[2 * pairs][4] = {}, gradients[2 * pairs][4] = {};
#pragma unroll
  for (int d = 0; d < width; d += 16) {
    std::uint32_t of_queries[4], of_cotangents[4];
    load_left<pitch>(of_queries, tiles.queries, first_row, d);
    load_left<pitch>(of_cotangents, tiles.cotangents, first_row, d);
#pragma unroll
    for (int n = 0; n < pairs; ++n) {
      if (16 * n >= visible) continue;
      multiply_by_transposed_tile<pitch>(weights + 2 * n, of_queries, tiles.keys, d, 16 * n);
      multiply_by_transposed_tile<pitch>(gradients + 2 * n, of_cotangents, tiles.values, d, 16 * n);
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane_rows.row[half];
    const float log_sum =
        row < rows ? operands.log_sums[work.pair * problem.queries + segment.first_query + row] : 0.0f;
    float dot = 0;
#pragma unroll
    for (int n = 0; n < 2 * pairs; ++n) {
      if (n / 2 * 16 >= visible) continue;
      const std::uint32_t spared = kept_from<edge>(tiles.kept, problem, row, 8 * n);
      float kept[2];
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        float &weight = weights[n][2 * half + side], &gradient = gradients[n][2 * half + side];
        const bool seen = 8 * n + column0 + side < lane_rows.seen[half], is_kept = spared >> (column0 + side) & 1;
        weight = seen ? __expf(weight * problem.scale - log_sum) : 0.0f;
        gradient = seen && is_kept ? gradient * problem.keep_scale : 0.0f;
        dot += weight * gradient;
        kept[side] = is_kept ? weight : 0.0f;
      }
      *reinterpret_cast<std::uint32_t*>(tiles.weights + row * score_pitch + 8 * n + column0) =
          pack_bf16(kept[0], kept[1]);
    }
    dot = sum_of_row(dot);
#pragma unroll
    for (int n = 0; n < 2 * pairs; ++n) {
#pragma unroll
      for (int i = 2 * half; i < 2 * half + 2; ++i) gradients[n][i] = weights[n][i] * (gradients[n][i] - dot);
    }
  }
  float dq[width / 8][4] = {};
#pragma unroll
  for (int n = 0; n < pairs; ++n) {
    if (16 * n >= visible) continue;
    const auto* two = gradients + 2 * n;
    const std::uint32_t left[4] = {pack_bf16(two[0][0], two[0][1]), pack_bf16(two[0][2], two[0][3]),
                                   pack_bf16(two[1][0], two[1][1]), pack_bf16(two[1][2], two[1][3])};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      *reinterpret_cast<std::uint32_t*>(tiles.score_gradients + lane_rows.row[i % 2] * score_pitch + 16 * n +
                                        i / 2 * 8 + column0) = left[i];
    }
#pragma unroll
    for (int d = 0; d < width; d += 16) multiply_by_tile<pitch>(dq + d / 8, left, tiles.keys, 16 * n, d);
  }
  store_rows<width>(operands.dq, dq, problem.scale, problem.scale, work, segment.first_query, first_row, rows,
                    problem.width);
}

/// dk and dv of keys first_row..first_row+15, from all rows that see one of them.
template <int edge, int width>
__device__ __forceinline__ void key_gradients(const BackwardTiles<edge, width>& tiles, const Problem<float>& problem,
                                              const AttentionBackward<bfloat16>& operands, const Work& work,
                                              int first_row) {
  constexpr int pitch = pitch_of<width>, score_pitch = pitch_of<edge>;
  const Segment& segment = work.segment;
  float dk[width / 8][4] = {}, dv[width / 8][4] = {};
  for (int query = problem.causal ? first_row : 0; query < segment.queries; query += 16) {
    std::uint32_t of_gradients[4], of_weights[4];
    load_left_transposed<score_pitch>(of_gradients, tiles.score_gradients, first_row, query);
    load_left_transposed<score_pitch>(of_weights, tiles.weights, first_row, query);
#pragma unroll
    for (int d = 0; d < width; d += 16) {
      multiply_by_tile<pitch>(dk + d / 8, of_gradients, tiles.queries, query, d);
      multiply_by_tile<pitch>(dv + d / 8, of_weights, tiles.cotangents, query, d);
    }
  }
  store_rows<width>(operands.dk, dk, problem.scale, problem.scale, work, segment.first_key, first_row, segment.keys,
                    problem.width);
  store_rows<width>(operands.dv, dv, problem.keep_scale, problem.keep_scale, work, segment.first_key, first_row,
                    segment.keys, problem.value_width);
}

template <int edge, int width>
__global__ void __launch_bounds__(backward_threads(edge))
    backward_kernel(const __grid_constant__ Problem<float> problem,
                    const __grid_constant__ AttentionBackward<bfloat16> operands,
                    const __grid_constant__ Segments segments) {
  const BackwardTiles<edge, width> tiles;
  const Work work = work_of_block(problem, segments);
  const Segment& segment = work.segment;
  fetch_rows<edge, width>(tiles.queries, operands.q, work, segment.first_query, segment.queries, problem.width);
  fetch_rows<edge, width>(tiles.cotangents, operands.g, work, segment.first_query, segment.queries,
                          problem.value_width);
  fetch_rows<edge, width>(tiles.keys, operands.k, work, segment.first_key, segment.keys, problem.width);
  fetch_rows<edge, width>(tiles.values, operands.v, work, segment.first_key, segment.keys, problem.value_width);
  commit_copies();
  draw_kept<edge>(tiles.kept, problem, work, 0, segment.queries, 0);
  wait_for_copies<0>();
  __syncthreads();
  const int front = warp_number() * warp_rows, back = edge - warp_rows - front;
#pragma unroll 1
  for (int first_row = front; first_row <= back; first_row += back - front) {
    if (first_row < segment.queries) query_gradients(tiles, problem, operands, work, first_row);
  }
  __syncthreads();
#pragma unroll 1
  for (int first_row = front; first_row <= back; first_row += back - front) {
    if (first_row < segment.keys) key_gradients(tiles, problem, operands, work, first_row);
  }
}

template <int width>
void launch_forward(const AttentionShape& shape, const AttentionForward<bfloat16>& operands, Stream stream) {
  for_each_launch(shape.segments, &AttentionSegment::queries, forward_edge, shape.batches * shape.heads,
                  [&](const Segments& segments, std::int64_t blocks) {
                    launch<forward_kernel<width>>({.blocks = blocks,
                                                   .threads = forward_threads,
                                                   .shared_bytes = forward_shared_bytes<width>(),
                                                   .stream = stream},
                                                  problem_of<float>(shape), operands, segments);
                  });
}

/// A block for each segment.
template <int edge, int width>
void launch_backward(const AttentionShape& shape, const AttentionBackward<bfloat16>& operands, Stream stream) {
  for_each_launch(shape.segments, &AttentionSegment::keys, edge, shape.batches * shape.heads,
                  [&](const Segments& segments, std::int64_t blocks) {
                    launch<backward_kernel<edge, width>>({.blocks = blocks,
                                                          .threads = backward_threads(edge),
                                                          .shared_bytes = backward_shared_bytes<edge, width>(),
                                                          .stream = stream},
                                                         problem_of<float>(shape), operands, segments);
                  });
}

}  // namespace

void tensor_core_forward(const AttentionShape& shape, const AttentionForward<bfloat16>& operands, Stream stream) {
  const std::int64_t width = std::max(shape.width, shape.value_width);
  if (width <= 32) return launch_forward<32>(shape, operands, stream);
  if (width <= 64) return launch_forward<64>(shape, operands, stream);
  launch_forward<128>(shape, operands, stream);
}

void tensor_core_backward(const AttentionShape& shape, const AttentionBackward<bfloat16>& operands, Stream stream) {
  const bool wide = std::max(shape.width, shape.value_width) > 32;
  const bool small = std::all_of(shape.segments.begin(), shape.segments.end(),
                                 [](const AttentionSegment& s) { return std::max(s.queries, s.keys) <= 64; });
  if (small && !wide) return launch_backward<64, 32>(shape, operands, stream);
  if (small) return launch_backward<64, 64>(shape, operands, stream);
  if (!wide) return launch_backward<128, 32>(shape, operands, stream);
  launch_backward<128, 64>(shape, operands, stream);
}

}  // namespace gradus::cuda::attention
