// How attention reads its call, on every device.
#pragma once

#include <cmath>

#include "framework/kernels/elements.h"
#include "framework/kernels/shared/attention_shape.h"
#include "framework/ops/op_spec.h"

namespace gradus {

inline double score_scale(const Attributes& attributes, const Shape& q) {
  const double scale = attributes.number("scale");
  return scale != 0 ? scale : 1 / std::sqrt(double(q.back()));
}

inline AttentionShape attention_shape(const Shape& q, const Shape& k, const Shape& v, const Attributes& attributes) {
  std::vector<AttentionSegment> segments;
  std::int64_t start = 0;
  for (const std::int64_t length : attributes.integers("lengths")) {
    segments.push_back({start, length, start, length});
    start += length;
  }
  if (segments.empty()) segments.push_back({0, q[2], 0, k[2]});
  return {.batches = q[0],
          .heads = q[1],
          .queries = q[2],
          .keys = k[2],
          .width = q[3],
          .value_width = v[3],
          .causal = attributes.flag("causal"),
          .scale = score_scale(attributes, q),
          .dropout = attributes.number("dropout"),
          .seed = static_cast<std::uint64_t>(attributes.integer("seed")),
          .stream = static_cast<std::uint64_t>(attributes.integer("stream")),
          .segments = std::move(segments)};
}

/// An uninitialised (B,H,T,D) whose memory runs (B,T,H,D), of the dtype and device of `like`.
inline Tensor heads_inside(const Shape& shape, const Tensor& like) {
  const Tensor packed = Tensor::empty({shape[0], shape[2], shape[1], shape[3]}, like.dtype(), like.device());
  const Shape& s = packed.strides();
  return packed.window(shape, {s[0], s[2], s[1], s[3]}, 0);
}

/// The kernels take rows whose D elements lie together.
inline Tensor with_packed_rows(const Tensor& x) {
  return x.strides()[3] == 1 && x.strides()[2] >= x.shape()[3] ? x : elements::clone(x);
}

template <class T>
HeadView<T> view(const Tensor& x) {
  return {x.device_data<T>(), x.strides()[0], x.strides()[1], x.strides()[2]};
}
template <class T>
MutableHeadView<T> mutable_view(const Tensor& x) {
  return {x.device_data<T>(), x.strides()[0], x.strides()[1], x.strides()[2]};
}

}  // namespace gradus
