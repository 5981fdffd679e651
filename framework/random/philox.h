// Philox 4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3" (SC 2011). A draw is a pure function of (seed, stream, index): the same on every device, for every launch
// geometry and thread count. Plain integer code, so host and device compile this same header.
#pragma once

#include <cstdint>

#include "framework/base/host_device.h"

namespace gradus::random {

struct Philox4 {
  std::uint32_t word[4];
};

/// Ten rounds over the 128-bit counter with the 64-bit key.
GRADUS_HOST_DEVICE inline Philox4 philox4x32_10(Philox4 counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter.word[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter.word[2];
    const Philox4 next = {{static_cast<std::uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0,
                           static_cast<std::uint32_t>(product1),
                           static_cast<std::uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1,
                           static_cast<std::uint32_t>(product0)}};
    counter = next;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// The block of four words number `block` of `stream` under `seed`.
GRADUS_HOST_DEVICE inline Philox4 philox_block(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) {
  return philox4x32_10({{static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                         static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}},
                       static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

/// The word of element number `index` in its block.
GRADUS_HOST_DEVICE inline std::uint32_t word_of(const Philox4& block, std::uint64_t index) {
  const std::uint32_t even = index % 4 == 0 ? block.word[0] : block.word[2],
                      odd = index % 4 == 1 ? block.word[1] : block.word[3];
  return index % 2 == 0 ? even : odd;  // chosen, not indexed: an array that is indexed lies in memory on a device
}

/// Word number `index` of the stream: four consecutive indices share one block.
GRADUS_HOST_DEVICE inline std::uint32_t philox_word(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  return word_of(philox_block(seed, stream, index / 4), index);
}

/// The threshold below which a word drops its element, for a probability in [0, 1).
inline std::uint32_t dropout_threshold(double probability) {
  return static_cast<std::uint32_t>(probability * 4294967296.0);
}

/// Dropout's decision for one element: dropped with probability `threshold / 2^32`.
GRADUS_HOST_DEVICE inline bool below(std::uint32_t word, std::uint32_t threshold) { return word < threshold; }

}  // namespace gradus::random
