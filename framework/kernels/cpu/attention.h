// Fused attention: one sequence under one head is one piece of work; its scores live in a tile that fits the cache and
// are never written to memory. bf16 is computed in f32 and rounded at the end. Shapes: q (B,H,Tq,D), k (B,H,Tk,D), v
// (B,H,Tk,E), out (B,H,Tq,E), log_sums (B,H,Tq).
#pragma once

#include <cstdint>
#include <vector>

#include "framework/base/dtype.h"

namespace gradus::cpu {

/// A sequence: its queries attend to its own keys only.
struct AttentionSegment {
  std::int64_t first_query, queries, first_key, keys;
};

struct AttentionShape {
  std::int64_t batches, heads, queries, keys, width, value_width;
  bool causal;     ///< query i of a sequence sees its keys j <= i
  double scale;    ///< factor of the scores
  double dropout;  ///< probability of a dropped weight
  std::uint64_t seed, stream;
  std::vector<AttentionSegment> segments;  ///< the same for every batch and head; together all queries and keys

  /// Random words set aside for one row of weights: whole Philox blocks.
  std::int64_t word_stride() const { return (keys + 3) / 4 * 4; }
};

/// Element (b, h, t, d) is data[b * batch_stride + h * head_stride + t * row_stride + d].
template <class T>
struct HeadView {
  const T* data;
  std::int64_t batch_stride, head_stride, row_stride;
};
template <class T>
struct MutableHeadView {
  T* data;
  std::int64_t batch_stride, head_stride, row_stride;
};

/// Also returns ln sum_j e^score for each row: backward gets the weights from it without a second maximum.
template <class T>
void attention_forward(const AttentionShape& shape, HeadView<T> q, HeadView<T> k, HeadView<T> v, MutableHeadView<T> out,
                       Arithmetic<T>* log_sums);

template <class T>
void attention_backward(const AttentionShape& shape, HeadView<T> q, HeadView<T> k, HeadView<T> v,
                        const Arithmetic<T>* log_sums, HeadView<T> g, MutableHeadView<T> dq, MutableHeadView<T> dk,
                        MutableHeadView<T> dv);

}  // namespace gradus::cpu
