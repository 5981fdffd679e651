#include "framework/random/generator.h"

#include <cmath>
#include <numbers>

#include "framework/base/error.h"
#include "framework/random/philox.h"

namespace gradus {
namespace {
thread_local StreamScope* innermost = nullptr;
}

StreamScope::StreamScope() : outer_(innermost) { innermost = this; }
StreamScope::~StreamScope() { innermost = outer_; }

std::uint64_t Generator::take_stream() {
  StreamScope* source = innermost;  // the first scope that replays; null where the generator itself is asked
  DrawnStream drawn{seed_, 0};
  while (source && !source->replace(seed_, drawn.stream)) source = source->outer_;
  if (!source) drawn.stream = next_stream_++;
  for (StreamScope* scope = innermost; scope != source; scope = scope->outer_) scope->note(drawn);
  return drawn.stream;
}

bool StreamReplayScope::replace(std::uint64_t seed, std::uint64_t& stream) {
  faithful_ = faithful_ && next_ < record_.size() && record_[next_].seed == seed;
  if (faithful_) stream = record_[next_++].stream;
  return faithful_;
}

std::uint32_t StreamReader::next_word() { return random::philox_word(seed_, stream_, index_++); }

double StreamReader::next_uniform() {
  const std::uint64_t high = next_word() >> 5, low = next_word() >> 6;
  return (static_cast<double>(high) * 67108864.0 + static_cast<double>(low)) * 0x1p-53;
}

double StreamReader::next_normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - next_uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * next_uniform());
}

std::int64_t StreamReader::next_integer(std::int64_t low, std::int64_t high) {
  if (low > high) fail("next_integer: the range [{}, {}] is empty", low, high);
  const std::uint64_t span = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low) + 1;
  if (span == 0) return static_cast<std::int64_t>((std::uint64_t{next_word()} << 32) | next_word());
  const std::uint64_t unbiased_end = UINT64_MAX - UINT64_MAX % span;
  for (;;) {
    const std::uint64_t high_word = next_word();
    const std::uint64_t draw = (high_word << 32) | next_word();
    if (draw < unbiased_end) return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + draw % span);
  }
}

}  // namespace gradus
