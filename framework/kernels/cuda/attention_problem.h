// What the attention kernels have in common: the arguments of a launch, which piece of work a block has, what a query
// sees. For kernel files.
#pragma once

#include <algorithm>
#include <span>

#include "framework/kernels/cuda/attention_methods.h"
#include "framework/kernels/cuda/kernel.h"
#include "framework/kernels/shared/scalar_math.h"
#include "framework/random/philox.h"

namespace gradus::cuda::attention {

/// An AttentionSegment whose first tile is number `first_tile` of the launch.
struct Segment {
  int first_query, queries, first_key, keys, first_tile;
};

/// The segments of a launch. They travel as an argument of the kernel, not through the device's memory; longer lists
/// take several launches.
struct Segments {
  static constexpr int capacity = 128;
  int count = 0, tiles = 0;
  Segment list[capacity];
};

/// An AttentionShape, as the kernels need it.
template <class A>
struct Problem {
  std::int64_t queries, word_stride;
  int heads, width, value_width;
  bool causal;
  A scale, keep_scale;
  std::uint32_t threshold;  ///< 0: nothing is dropped
  std::uint64_t seed, first_stream;
  const std::uint64_t* stream_offset;

  /// The offset is never null: with a test for it, kernels spill registers.
  __device__ __forceinline__ std::uint64_t stream() const { return first_stream + *stream_offset; }
};

template <class A>
Problem<A> problem_of(const AttentionShape& s) {
  return {.queries = s.queries,
          .word_stride = s.word_stride(),
          .heads = static_cast<int>(s.heads),
          .width = static_cast<int>(s.width),
          .value_width = static_cast<int>(s.value_width),
          .causal = s.causal,
          .scale = A(s.scale),
          .keep_scale = A(1 / (1 - s.dropout)),
          .threshold = random::dropout_threshold(s.dropout),
          .seed = s.seed,
          .first_stream = s.stream,
          .stream_offset = s.stream_offset ? s.stream_offset : zero_on_device()};
}

/// Calls body(segments, blocks) for each launch that the list takes: a block for each tile of `tile` rows, of the
/// queries or of the keys, under each of `pairs` = B H heads.
template <class Body>
void for_each_launch(std::span<const AttentionSegment> segments, std::int64_t AttentionSegment::*rows, int tile,
                     std::int64_t pairs, const Body& body) {
  for (std::size_t first = 0; first < segments.size(); first += Segments::capacity) {
    Segments some;
    for (const AttentionSegment& s :
         segments.subspan(first, std::min<std::size_t>(Segments::capacity, segments.size() - first))) {
      some.list[some.count++] = {static_cast<int>(s.first_query), static_cast<int>(s.queries),
                                 static_cast<int>(s.first_key), static_cast<int>(s.keys), some.tiles};
      some.tiles += static_cast<int>(blocks_for(s.*rows, tile));
    }
    if (some.tiles * pairs > 0) body(some, some.tiles * pairs);
  }
}

/// The work of a block: a tile of a segment under one head.
struct Work {
  Segment segment;
  int tile;
  int batch, head;
  std::int64_t pair;  ///< b H + h
};

template <class A>
__device__ __forceinline__ Work work_of_block(const Problem<A>& problem, const Segments& segments) {
  const int tile = static_cast<int>(blockIdx.x % segments.tiles);
  int low = 0, high = segments.count - 1;  // the last segment that begins at this tile or before
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (segments.list[middle].first_tile <= tile) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  // A segment without rows has no tile: among segments that begin at one tile, the last one has it.
  const Segment segment = segments.list[low];
  const int pair = static_cast<int>(blockIdx.x / segments.tiles);
  return {segment, tile - segment.first_tile, pair / problem.heads, pair % problem.heads, pair};
}

/// Keys of the segment that its query i sees: the first ones.
template <class A>
__device__ __forceinline__ int seen_keys(const Problem<A>& problem, const Segment& segment, int i) {
  return problem.causal ? min(segment.keys, i + 1) : segment.keys;
}

/// Number of the random word of a row's first weight.
template <class A>
__device__ __forceinline__ std::uint64_t first_word(const Problem<A>& problem, const Work& work, int i) {
  return (work.pair * problem.queries + work.segment.first_query + i) * problem.word_stride;
}

/// Row t of the head.
template <class View>
__device__ __forceinline__ auto row_of(const View& view, const Work& work, int t) {
  return view.data + work.batch * view.batch_stride + work.head * view.head_stride + t * view.row_stride;
}

/// Bit i says that dropout spares word first + i of the stream, for the 32 words from there on.
template <class A>
__device__ __forceinline__ std::uint32_t kept_weights(const Problem<A>& problem, std::uint64_t first) {
  const int skipped = static_cast<int>(first % 4);
  std::uint64_t kept = 0;  // from word first - skipped on
  const auto draw = [&](int block) {
    const random::Philox4 four = random::philox_block(problem.seed, problem.stream(), first / 4 + block);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool spared = !random::below(four.word[i], problem.threshold);
      kept |= std::uint64_t{spared} << (4 * block + i);
    }
  };
#pragma unroll 4
  for (int block = 0; block < 8; ++block) draw(block);
  if (skipped != 0) draw(8);
  return static_cast<std::uint32_t>(kept >> skipped);
}

/// Which weights of a tile (rows, columns) dropout spares, for those that are seen: bit column % 32 of
/// words[row][column / 32]. Not touched where nothing is dropped. By all threads of the block; behind it belongs a
/// barrier.
template <int columns, class A>
__device__ __forceinline__ void draw_kept(std::uint32_t* words, const Problem<A>& problem, const Work& work, int query,
                                          int rows, int key) {
  constexpr int row_words = columns / 32;
  if (problem.threshold == 0) return;
#pragma unroll 1
  for (int index = threadIdx.x; index < rows * row_words; index += blockDim.x) {
    const int row = index / row_words, column = index % row_words * 32;
    if (key + column >= seen_keys(problem, work.segment, query + row)) continue;
    words[index] =
        kept_weights(problem, first_word(problem, work, query + row) + work.segment.first_key + key + column);
  }
}

/// The bits of `words` from `column` on, as far as the word goes.
template <int columns, class A>
__device__ __forceinline__ std::uint32_t kept_from(const std::uint32_t* words, const Problem<A>& problem, int row,
                                                   int column) {
  return problem.threshold == 0 ? ~0u : words[row * (columns / 32) + column / 32] >> column % 32;
}

}  // namespace gradus::cuda::attention
