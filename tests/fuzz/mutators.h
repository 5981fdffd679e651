// Mutants that get past the first gate: a damaged file is refused by its length or its checksum, so these are put right again
// around what was changed.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/reader.h"

namespace gradus::fuzz {

/// Decisions, the same on every machine for a seed.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : words_(seed) {}
  /// One of 0 .. count - 1.
  std::size_t below(std::size_t count) { return count == 0 ? 0 : words_() % count; }
  bool one_in(std::size_t count) { return below(count) == 0; }
  template <class List>
  const auto& of(const List& list) {
    return list[below(std::size(list))];
  }

 private:
  std::mt19937_64 words_;
};

/// A changed copy of `bytes`:
///   safetensors  the tree of the header, or of JSON in its metadata, or the tensors' bytes, with the length put right and
///                half the time the checksum
///   json         the tree, or the text: keys that are there twice, nesting, huge numbers
///   text         line ends, byte order marks, NUL, tabs, invalid UTF-8, long lines, UTF-16
///   words        a word on each line: options dropped, doubled, misspelt, with values of all kinds
/// and each of them, now and then, in its bytes alone.
std::string mutant(Form form, std::string bytes, Draw& draw);

/// The file with the checksum of what it holds; anything else unchanged.
std::string with_right_checksum(const std::string& bytes);

}  // namespace gradus::fuzz
