// Salient spans: the names in a document, and examples that ask for one of them. Span corruption lets a model predict a
// name from the words around it; here it has little more than the document's title, so that what it learns is about the
// title's person. After the salient span masking of Guu et al. 2020, arXiv:2002.08909, section 3.4.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "framework/data/batch.h"
#include "framework/random/generator.h"

namespace gradus::tasks {

/// Characters begin .. end - 1.
struct CharacterRange {
  std::int64_t begin, end;
};

/// Of a document "Title. Text".
struct Mentions {
  std::int64_t title = 0;             ///< characters of the title, without ". "
  std::vector<CharacterRange> words;  ///< of the text, without those with a digit
  /// Capitalised words of the text, neighbours together, that are no months and not in the title.
  std::vector<CharacterRange> names;
  std::int64_t preferred = -1;  ///< the first name behind the keyword; -1 for none
};

/// No names where there is no ". ". The keyword is a word of the text, its first letter small or not; empty for none.
Mentions find_mentions(std::u32string_view document, std::u32string_view keyword = {});

/// Drawn: a name (with probability `preferred` the preferred one, where there is one), up to 4 words before it and up
/// to 2 behind it, without the numbers and marks between them, and whether the title comes before or after these.
///   Title. words ⁇ words ⁇ name ⁇ □□□...   or   words ⁇ words. Title ⁇ name ⁇ □□□...
/// as input (all but the last of length + 1 ids) and target (all but the first), of which only the name and the mark
/// behind it count. Nothing where the document has no name or the example does not fit.
std::optional<data::Example> ask_for_name(const std::vector<std::int64_t>& document, const Mentions& mentions,
                                          double preferred, std::int64_t length, StreamReader& draw);

}  // namespace gradus::tasks
