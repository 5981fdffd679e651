// Philox words in bulk, for dropout masks that are computed in place and never stored.
#pragma once

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "framework/base/dtype.h"
#include "framework/random/philox.h"

namespace gradus::cpu {

#ifdef __AVX512F__
/// philox_block of eight blocks from `block` on, in the lower halves of 64-bit lanes. Spelled out, because GCC turns a
/// product of such halves into three instructions where there is one.
inline void eight_philox_blocks(std::uint64_t seed, std::uint64_t stream, std::uint64_t block, std::uint32_t* words) {
  typedef std::uint64_t Lanes __attribute__((vector_size(64)));
  const auto product = [](Lanes a, std::uint32_t b) {
    return reinterpret_cast<Lanes>(_mm512_maskz_mul_epu32(0xFF, reinterpret_cast<__m512i>(a), _mm512_set1_epi64(b)));
  };
  const Lanes index = Lanes{0, 1, 2, 3, 4, 5, 6, 7} + block;
  Lanes word0 = index, word1 = index >> 32, word2 = Lanes{} + stream, word3 = word2 >> 32;
  std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const Lanes product0 = product(word0, 0xD2511F53u), product1 = product(word2, 0xCD9E8D57u);
    word0 = (product1 >> 32) ^ word1 ^ std::uint64_t{key0};
    word2 = (product0 >> 32) ^ word3 ^ std::uint64_t{key1};
    word1 = product1;
    word3 = product0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  const Lanes lower = (word0 & 0xFFFFFFFFu) | (word1 << 32), upper = (word2 & 0xFFFFFFFFu) | (word3 << 32);
  const Lanes first = __builtin_shuffle(lower, upper, Lanes{0, 8, 1, 9, 2, 10, 3, 11}),
              second = __builtin_shuffle(lower, upper, Lanes{4, 12, 5, 13, 6, 14, 7, 15});
  std::memcpy(words, &first, sizeof(first));
  std::memcpy(words + 16, &second, sizeof(second));
}
#endif

/// words[i] = word number first + i of the stream. `first` must be a multiple of 4; `words` has room for `count`
/// rounded up to a multiple of 32.
inline void random_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t first, std::int64_t count, std::uint32_t* words) {
#ifdef __AVX512F__
  for (std::int64_t i = 0; i < count; i += 32) eight_philox_blocks(seed, stream, (first + i) / 4, words + i);
#else
#pragma omp simd
  for (std::int64_t block = 0; block < (count + 3) / 4; ++block) {
    const random::Philox4 four = random::philox_block(seed, stream, first / 4 + block);
    words[4 * block] = four.word[0];
    words[4 * block + 1] = four.word[1];
    words[4 * block + 2] = four.word[2];
    words[4 * block + 3] = four.word[3];
  }
#endif
}

/// Which elements a call of dropout keeps, and what it does to elements number `first` to `first` + `count` - 1.
/// `words` is the caller's room for room(count) words.
class DropoutMask {
 public:
  DropoutMask(double probability, std::uint64_t seed, std::uint64_t stream)
      : seed_(seed),
        stream_(stream),
        threshold_(random::dropout_threshold(probability)),
        keep_scale_(1 / (1 - probability)) {}

  static constexpr std::int64_t room(std::int64_t count) { return count + 3 + 32; }

  /// to[i] = from[i] / (1 - probability), or times 0.
  template <class From, class To>
  void drop(const From* from, std::int64_t first, std::int64_t count, std::uint32_t* words, To* to) const {
    using A = Arithmetic<From>;
    const std::uint32_t* word = draw(first, count, words);
    const std::uint32_t threshold = threshold_;
    const A scale(keep_scale_);
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) to[i] = To(A(from[i]) * (word[i] < threshold ? A(0) : scale));
  }

  /// to[i] = residual[i] + update[i] / (1 - probability), or plus update[i] times 0.
  template <class From, class To>
  void add(const From* residual, const From* update, std::int64_t first, std::int64_t count, std::uint32_t* words,
           To* to) const {
    using A = Arithmetic<From>;
    if (threshold_ == 0) {
#pragma omp simd
      for (std::int64_t i = 0; i < count; ++i) to[i] = To(A(residual[i]) + A(update[i]));
      return;
    }
    const std::uint32_t* word = draw(first, count, words);
    const std::uint32_t threshold = threshold_;
    const A scale(keep_scale_);
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i)
      to[i] = To(A(residual[i]) + A(update[i]) * (word[i] < threshold ? A(0) : scale));
  }

 private:
  const std::uint32_t* draw(std::int64_t first, std::int64_t count, std::uint32_t* words) const {
    const std::int64_t before = first % 4;
    random_words(seed_, stream_, first - before, before + count, words);
    return words + before;
  }

  std::uint64_t seed_, stream_;
  std::uint32_t threshold_;
  double keep_scale_;
};

}  // namespace gradus::cpu
