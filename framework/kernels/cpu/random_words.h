// Philox words in bulk, for dropout masks that are computed in place and never stored.
#pragma once

#include <cstdint>

#include "framework/random/philox.h"

namespace gradus::cpu {

/// words[i] = word number first + i of the stream. `first` must be a multiple of 4; `words` has room for `count`
/// rounded up to a multiple of 4.
inline void random_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t first, std::int64_t count, std::uint32_t* words) {
#pragma omp simd
  for (std::int64_t block = 0; block < (count + 3) / 4; ++block) {
    const random::Philox4 four = random::philox_block(seed, stream, first / 4 + block);
    words[4 * block] = four.word[0];
    words[4 * block + 1] = four.word[1];
    words[4 * block + 2] = four.word[2];
    words[4 * block + 3] = four.word[3];
  }
}

/// The threshold below which a word drops its element, for a probability in [0, 1).
inline std::uint32_t dropout_threshold(double probability) { return static_cast<std::uint32_t>(probability * 4294967296.0); }

}  // namespace gradus::cpu
