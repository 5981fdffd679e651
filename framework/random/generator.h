// A named source of random streams. Its whole state is two integers, so it goes into checkpoints as they are.
#pragma once

#include <cstdint>

namespace gradus {

class Generator {
 public:
  explicit Generator(std::uint64_t seed, std::uint64_t next_stream = 0) : seed_(seed), next_stream_(next_stream) {}

  std::uint64_t seed() const { return seed_; }
  std::uint64_t next_stream() const { return next_stream_; }

  /// Hands out a stream number that no earlier call got. Every random op takes one.
  std::uint64_t take_stream() { return next_stream_++; }

 private:
  std::uint64_t seed_;
  std::uint64_t next_stream_;
};

/// Draws one after another from a single stream, for host-side decisions (data order, corruption spans).
class StreamReader {
 public:
  StreamReader(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}

  std::uint32_t next_word();
  /// Uniform in [0, 1) with 53 bits.
  double next_uniform();
  /// Standard normal (Box-Muller, one of the pair).
  double next_normal();
  /// Uniform integer in [low, high], both included, without modulo bias. Needs low <= high.
  std::int64_t next_integer(std::int64_t low, std::int64_t high);

 private:
  std::uint64_t seed_, stream_, index_ = 0;
};

}  // namespace gradus
