#include "framework/random/permutation.h"

#include <algorithm>
#include <bit>

#include "framework/base/error.h"
#include "framework/random/philox.h"

namespace gradus {
namespace {

// Four make a good permutation of many items (Luby and Rackoff); halves of a few bits need more.
constexpr std::uint64_t rounds = 8;

}  // namespace

Permutation::Permutation(std::int64_t size, std::uint64_t seed, std::uint64_t stream)
    : size_(static_cast<std::uint64_t>(size)), seed_(seed), stream_(stream) {
  if (size < 1 || size > std::int64_t{1} << 62) fail("a permutation needs 1 to 2^62 items, not {}", size);
  half_bits_ = std::max(1, (static_cast<int>(std::bit_width(size_ - 1)) + 1) / 2);
}

std::uint64_t Permutation::through_network(std::uint64_t value) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = value >> half_bits_, right = value & mask;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const std::uint64_t mixed = left ^ (random::philox_block(seed_, stream_, round << 32 | right).word[0] & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits_ | right;
}

std::int64_t Permutation::operator()(std::int64_t index) const {
  auto value = static_cast<std::uint64_t>(index);
  if (value >= size_) fail("item {} of a permutation of {}", index, size_);
  do value = through_network(value);
  while (value >= size_);
  return static_cast<std::int64_t>(value);
}

}  // namespace gradus
