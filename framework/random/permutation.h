// A shuffled order whose items are computed one by one, so that no list of them is made or kept.
#pragma once

#include <cstdint>

namespace gradus {

/// A bijection of the numbers from 0 to size - 1, chosen by (seed, stream): a Feistel network, with Philox as its round
/// function, on the least power of four that holds them. A result outside the range goes through it again until it lies
/// within: cycle walking (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002), in four turns or fewer on
/// average.
class Permutation {
 public:
  /// Needs 1 <= size <= 2^62.
  Permutation(std::int64_t size, std::uint64_t seed, std::uint64_t stream);
  /// Needs 0 <= index < size.
  std::int64_t operator()(std::int64_t index) const;

 private:
  std::uint64_t through_network(std::uint64_t value) const;

  std::uint64_t size_, seed_, stream_;
  int half_bits_;
};

}  // namespace gradus
