// What attention is asked to compute, for the kernels of every device.
#pragma once

#include <cstdint>
#include <vector>

namespace gradus {

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
  const std::uint64_t* stream_offset = nullptr;  ///< for CUDA kernels, on the device: added to `stream`
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

}  // namespace gradus
