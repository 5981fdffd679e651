// The character vocabulary of a corpus (assignment.md, section 1): 0 pads, 1 marks a mask, then the corpus's code points.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gradus::data {

class Vocabulary {
 public:
  static constexpr char32_t pad_character = 0x25A1;   // □
  static constexpr char32_t mask_character = 0x2047;  // ⁇
  static constexpr std::int64_t pad = 0, mask = 1;

  /// The distinct characters of `text`, sorted by code point. Throws DataError where the text holds a special one.
  static Vocabulary from_text(std::u32string_view text, const std::string& origin);
  /// From what characters() gave. Throws DataError where it does not begin with the specials or repeats a character.
  static Vocabulary from_characters(std::u32string_view characters, const std::string& origin);

  /// Throws DataError `ORIGIN: line 7: the character 'ß' (U+00DF) is not in the vocabulary`.
  std::vector<std::int64_t> encode(std::u32string_view text, const std::string& origin, std::int64_t line = 1) const;
  std::u32string decode(const std::vector<std::int64_t>& ids) const;
  bool contains(char32_t character) const { return ids_.count(character) > 0; }
  std::int64_t size() const { return static_cast<std::int64_t>(characters_.size()); }
  /// All characters by id, the specials included.
  const std::u32string& characters() const { return characters_; }
  bool operator==(const Vocabulary& other) const { return characters_ == other.characters_; }

 private:
  explicit Vocabulary(std::u32string characters);
  std::u32string characters_;
  std::unordered_map<char32_t, std::int64_t> ids_;
};

/// Throws DataError naming `corpus_path` and the first difference unless the two are equal.
void require_same_vocabulary(const Vocabulary& of_model, const Vocabulary& of_corpus, const std::string& model_path, const std::string& corpus_path);

}  // namespace gradus::data
