#include "framework/io/checksum.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <new>

#include <fmt/format.h>

namespace gradus::io {
namespace {

constexpr std::uint64_t fnv_prime = 0x100000001b3u;

XXH3_state_t* as_state(void* state) { return static_cast<XXH3_state_t*>(state); }

}  // namespace

Checksum::Checksum() : state_(XXH3_createState()) {
  if (!state_ || XXH3_128bits_reset(as_state(state_.get())) != XXH_OK) throw std::bad_alloc();
}

void Checksum::Release::operator()(void* state) const { XXH3_freeState(as_state(state)); }

void Checksum::add(const void* bytes, std::size_t count) { XXH3_128bits_update(as_state(state_.get()), bytes, count); }

std::string Checksum::digits() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(as_state(state_.get()));
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string checksum(std::string_view bytes) {
  Checksum sum;
  sum.add(bytes);
  return sum.digits();
}

void OldChecksum::add(const void* bytes, std::size_t count) {
  const auto* data = static_cast<const unsigned char*>(bytes);
  while (count > 0) {
    const std::size_t taken = std::min(count, sizeof(word_) - kept_);
    std::memcpy(word_ + kept_, data, taken);
    data += taken, count -= taken, kept_ += taken;
    if (kept_ < sizeof(word_)) return;
    std::uint64_t word;
    std::memcpy(&word, word_, sizeof(word_));
    hash_ = (hash_ ^ word) * fnv_prime;
    kept_ = 0;
  }
}

std::string OldChecksum::digits() const {
  std::uint64_t hash = hash_;
  for (std::size_t i = 0; i < kept_; ++i) hash = (hash ^ word_[i]) * fnv_prime;
  return fmt::format("{:016x}", hash);
}

}  // namespace gradus::io
