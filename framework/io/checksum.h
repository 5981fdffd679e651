// Checksums that notice damage: any flipped bits, swapped or shifted bytes. They do not keep out people who mean it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace gradus::io {

/// XXH3 with 128 bits, by libxxhash, over bytes that come in any parts.
class Checksum {
 public:
  Checksum();
  void add(const void* bytes, std::size_t count);
  void add(std::string_view bytes) { add(bytes.data(), bytes.size()); }
  /// 32 hexadecimal digits.
  std::string digits() const;

 private:
  struct Release {
    void operator()(void* state) const;
  };
  std::unique_ptr<void, Release> state_;
};

inline constexpr std::size_t checksum_digits = 32;

/// The checksum of all of `bytes`.
std::string checksum(std::string_view bytes);

/// What files of earlier versions carry: 64 bits of FNV-1a over words of 8 bytes. Some damage of two words cancels in it.
class OldChecksum {
 public:
  void add(const void* bytes, std::size_t count);
  /// 16 hexadecimal digits.
  std::string digits() const;

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325u;
  unsigned char word_[8] = {};  ///< bytes that do not fill a word yet
  std::size_t kept_ = 0;
};

}  // namespace gradus::io
