#include "framework/data/vocabulary.h"

#include <algorithm>
#include <set>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/data/utf8.h"

namespace gradus::data {

Vocabulary::Vocabulary(std::u32string characters) : characters_(std::move(characters)) {
  for (std::size_t id = 0; id < characters_.size(); ++id) ids_.emplace(characters_[id], static_cast<std::int64_t>(id));
}

Vocabulary Vocabulary::from_text(std::u32string_view text, const std::string& origin) {
  std::set<char32_t> distinct(text.begin(), text.end());
  for (char32_t special : {pad_character, mask_character}) {
    if (distinct.count(special)) {
      const auto at = text.find(special);
      fail<DataError>("{}: line {}: the text holds the reserved character {}", origin,
                      1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), U'\n'), describe_character(special));
    }
  }
  std::u32string characters = {pad_character, mask_character};
  characters.append(distinct.begin(), distinct.end());
  return Vocabulary(std::move(characters));
}

Vocabulary Vocabulary::from_characters(std::u32string_view characters, const std::string& origin) {
  if (characters.size() < 2 || characters[pad] != pad_character || characters[mask] != mask_character) {
    fail<DataError>("{}: the vocabulary does not begin with the two reserved characters", origin);
  }
  Vocabulary vocabulary{std::u32string(characters)};
  if (vocabulary.ids_.size() != characters.size()) fail<DataError>("{}: the vocabulary repeats a character", origin);
  return vocabulary;
}

std::vector<std::int64_t> Vocabulary::encode(std::u32string_view text, const std::string& origin, std::int64_t line) const {
  std::vector<std::int64_t> ids;
  ids.reserve(text.size());
  for (char32_t character : text) {
    const auto found = ids_.find(character);
    if (found == ids_.end()) fail<DataError>("{}: line {}: the character {} is not in the vocabulary", origin, line, describe_character(character));
    ids.push_back(found->second);
    line += character == U'\n';
  }
  return ids;
}

std::u32string Vocabulary::decode(const std::vector<std::int64_t>& ids) const {
  std::u32string text;
  for (std::int64_t id : ids) {
    if (id < 0 || id >= size()) fail("id {} is outside the vocabulary of {} characters", id, size());
    text.push_back(characters_[id]);
  }
  return text;
}

void require_same_vocabulary(const Vocabulary& of_model, const Vocabulary& of_corpus, const std::string& model_path, const std::string& corpus_path) {
  if (of_model == of_corpus) return;
  std::string difference = fmt::format("{} against {}", plural(of_corpus.size(), "character"), of_model.size());
  for (char32_t character : of_corpus.characters()) {
    if (!of_model.contains(character)) {
      difference += fmt::format("; {} is new", describe_character(character));
      break;
    }
  }
  for (char32_t character : of_model.characters()) {
    if (!of_corpus.contains(character)) {
      difference += fmt::format("; {} is missing", describe_character(character));
      break;
    }
  }
  fail<DataError>("{}: not the corpus that {} was trained with: its vocabulary differs ({})", corpus_path, model_path, difference);
}

}  // namespace gradus::data
