#include "tasks/span_corruption/mentions.h"

#include <algorithm>

#include "framework/data/vocabulary.h"

namespace gradus::tasks {
namespace {

constexpr std::int64_t most_words_before = 4, most_words_behind = 2;

bool is_capital(char32_t c) { return (c >= U'A' && c <= U'Z') || (c >= 0xC0 && c <= 0xDE && c != 0xD7); }
bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool is_of_word(char32_t c) {
  return (c >= U'a' && c <= U'z') || is_capital(c) || c >= 0xC0 || c == U'\'' || c == U'-';
}

bool is_month(std::u32string_view word) {
  static constexpr std::u32string_view months[] = {U"January",   U"February", U"March",    U"April",
                                                   U"May",       U"June",     U"July",     U"August",
                                                   U"September", U"October",  U"November", U"December"};
  return std::ranges::find(months, word) != std::end(months);
}

/// The same word, but for the first letter's case.
bool is_keyword(std::u32string_view word, std::u32string_view keyword) {
  if (keyword.empty() || word.size() != keyword.size() || word.substr(1) != keyword.substr(1)) return false;
  return word[0] == keyword[0] || (is_capital(word[0]) && word[0] + 32 == keyword[0]);
}

/// Where the title ends: at the first ". " that is not behind an initial.
std::size_t end_of_title(std::u32string_view document) {
  std::size_t dot = document.find(U". ");
  while (dot != std::u32string_view::npos && dot > 0 && is_capital(document[dot - 1]) &&
         (dot == 1 || !is_of_word(document[dot - 2]))) {
    dot = document.find(U". ", dot + 1);
  }
  return dot;
}

}  // namespace

Mentions find_mentions(std::u32string_view document, std::u32string_view keyword) {
  Mentions mentions;
  std::int64_t keyword_end = -1;
  const std::size_t dot = end_of_title(document);
  if (dot == std::u32string_view::npos) return mentions;
  mentions.title = static_cast<std::int64_t>(dot);
  const auto size = static_cast<std::int64_t>(document.size());
  bool behind_name = false;  // the last word was part of one
  for (std::int64_t i = mentions.title + 2; i < size;) {
    std::int64_t end = i;
    while (end < size && (is_of_word(document[end]) || is_digit(document[end]))) ++end;
    if (end == i || std::any_of(document.begin() + i, document.begin() + end, is_digit)) {
      behind_name = behind_name && end == i;
      i = std::max(end, i + 1);
      continue;
    }
    const std::u32string_view word = document.substr(i, end - i);
    const bool is_keyword_here = is_keyword(word, keyword);
    if (is_keyword_here && keyword_end < 0) keyword_end = end;
    const bool is_name = is_capital(word[0]) && !is_month(word) && !is_keyword_here;
    if (is_name) {
      const bool next_to_it = behind_name && mentions.names.back().end + 1 == i && document[i - 1] == U' ';
      if (next_to_it) mentions.names.back().end = end;
      else mentions.names.push_back({i, end});
    }
    behind_name = is_name;
    mentions.words.push_back({i, end});
    i = end;
  }
  const std::u32string_view title = document.substr(0, dot);
  std::erase_if(mentions.names, [&](const CharacterRange& name) {
    return title.find(document.substr(name.begin, name.end - name.begin)) != std::u32string_view::npos;
  });
  if (keyword_end >= 0) {
    const auto behind =
        std::ranges::find_if(mentions.names, [&](const CharacterRange& name) { return name.begin > keyword_end; });
    if (behind != mentions.names.end()) mentions.preferred = behind - mentions.names.begin();
  }
  return mentions;
}

std::optional<data::Example> ask_for_name(const std::vector<std::int64_t>& document, const Mentions& mentions,
                                          double preferred, std::int64_t length, StreamReader& draw) {
  if (mentions.names.empty()) return {};
  const std::int64_t any = draw.next_integer(0, static_cast<std::int64_t>(mentions.names.size()) - 1);
  const bool prefer = mentions.preferred >= 0 && draw.next_uniform() < preferred;
  const CharacterRange name = mentions.names[prefer ? mentions.preferred : any];
  const auto begin = mentions.words.begin(), end = mentions.words.end();
  const auto first = std::ranges::find_if(mentions.words, [&](const CharacterRange& w) { return w.end > name.begin; });
  const auto behind =
      std::ranges::find_if(mentions.words, [&](const CharacterRange& w) { return w.begin >= name.end; });
  const std::int64_t before = std::min<std::int64_t>(draw.next_integer(0, most_words_before), first - begin);
  const std::int64_t after = std::min<std::int64_t>(draw.next_integer(0, most_words_behind), end - behind);
  const bool title_first = draw.next_integer(0, 1) == 1;

  const std::int64_t space = document[mentions.title + 1];
  std::vector<std::int64_t> ids;
  const auto put = [&](std::int64_t from, std::int64_t to) {
    ids.insert(ids.end(), document.begin() + from, document.begin() + to);
  };
  if (title_first) put(0, mentions.title + 2);
  for (auto word = first - before; word != first; ++word) {
    put(word->begin, word->end);
    ids.push_back(space);
  }
  ids.push_back(data::Vocabulary::mask);
  for (auto word = behind; word != behind + after; ++word) {
    ids.push_back(space);
    put(word->begin, word->end);
  }
  if (!title_first) {
    put(mentions.title, mentions.title + 2);
    put(0, mentions.title);
  }
  ids.push_back(data::Vocabulary::mask);
  const auto asked = static_cast<std::ptrdiff_t>(ids.size());
  put(name.begin, name.end);
  ids.push_back(data::Vocabulary::mask);
  const auto full = static_cast<std::size_t>(length + 1);
  if (ids.size() > full) return {};
  ids.resize(full, data::Vocabulary::pad);
  data::Example example{{ids.begin(), ids.end() - 1}, {ids.begin() + 1, ids.end()}};
  std::fill_n(example.target.begin(), asked - 1, data::Vocabulary::pad);
  return example;
}

}  // namespace gradus::tasks
