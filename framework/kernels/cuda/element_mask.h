// Dropout's mask in a kernel: which elements are dropped is a function of their number, so no mask is stored. For
// kernel files.
#pragma once

#include "framework/kernels/cuda/dropout.h"
#include "framework/kernels/cuda/kernel.h"
#include "framework/random/philox.h"

namespace gradus::cuda {

/// A DropoutMask, as kernels need it.
template <class A>
struct ElementMask {
  std::uint64_t seed, first_stream;
  const std::uint64_t* stream_offset;
  std::uint32_t threshold;  ///< 0: nothing is dropped
  A keep_scale;

  ElementMask(const DropoutMask& mask)
      : seed(mask.seed),
        first_stream(mask.stream),
        stream_offset(mask.stream_offset),
        threshold(random::dropout_threshold(mask.probability)),
        keep_scale(A(1 / (1 - mask.probability))) {}

  __device__ __forceinline__ std::uint64_t stream() const {
    return stream_offset ? first_stream + *stream_offset : first_stream;
  }
  /// What an element with this word is multiplied by.
  __device__ __forceinline__ A factor(std::uint32_t word) const {
    return random::below(word, threshold) ? A(0) : keep_scale;
  }
};

/// The factors of elements by their numbers. Four neighbours have their words from one Philox block: asked for one
/// after the other, they cost one.
template <class A>
class MaskReader {
 public:
  __device__ __forceinline__ explicit MaskReader(const ElementMask<A>& mask) : mask_(mask), stream_(mask.stream()) {}

  __device__ __forceinline__ A factor(std::uint64_t element) {
    if (mask_.threshold == 0) return A(1);
    if (!drawn_ || element / 4 != block_) {
      block_ = element / 4;
      drawn_ = true;
      words_ = random::philox_block(mask_.seed, stream_, block_);
    }
    return mask_.factor(random::word_of(words_, element));
  }

 private:
  const ElementMask<A>& mask_;
  std::uint64_t stream_, block_ = 0;
  bool drawn_ = false;
  random::Philox4 words_ = {};
};

}  // namespace gradus::cuda
