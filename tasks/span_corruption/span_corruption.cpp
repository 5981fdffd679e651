#include "tasks/span_corruption/span_corruption.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/base/error.h"
#include "framework/base/plural.h"
#include "framework/data/utf8.h"
#include "framework/random/generator.h"

namespace gradus::tasks {
namespace {

using data::Vocabulary;

/// Streams of one seed: corruption counts up from 0, the order of the epochs has its own range.
constexpr std::uint64_t order_streams = std::uint64_t{1} << 62, name_streams = std::uint64_t{1} << 61;

}  // namespace

std::string Corpus::summary() const { return fmt::format("data has {} characters, {} unique.", text.size(), vocabulary.size()); }

Corpus load_corpus(const std::string& path) {
  return corpus_of(data::load_text(path), path);
}

Corpus corpus_of(data::TextFile file, const std::string& path) {
  if (file.text.empty()) fail<DataError>("{}: the corpus is empty", path);
  Corpus corpus{path, std::move(file.fingerprint), std::move(file.text), Vocabulary::from_characters(U"□⁇", path), {},
                std::move(file.notices)};
  corpus.vocabulary = Vocabulary::from_text(corpus.text, path);
  std::size_t begin = 0;
  for (std::int64_t line = 1;; ++line) {
    const std::size_t end = std::min(corpus.text.find(U'\n', begin), corpus.text.size());
    corpus.documents.push_back(corpus.vocabulary.encode(std::u32string_view(corpus.text).substr(begin, end - begin), path, line));
    if (end == corpus.text.size()) break;
    begin = end + 1;
  }
  return corpus;
}

Corpus load_corpus(const std::string& path, const Vocabulary& vocabulary) {
  Corpus corpus = load_corpus(path);
  std::int64_t line = 0;
  for (std::vector<std::int64_t>& document : corpus.documents)
    document = vocabulary.encode(corpus.vocabulary.decode(document), path, ++line);
  corpus.vocabulary = vocabulary;
  return corpus;
}

CorruptionRules assignment_rules(std::int64_t block_size, std::int64_t length) {
  if (block_size < 8) fail<UsageError>("block_size must be at least 8 to hold a corrupted document, not {}", block_size);
  CorruptionRules rules;
  rules.length = length;
  rules.longest_truncation = block_size * 7 / 8;
  return rules;
}

void CorruptionRules::validate() const {
  if (!(names >= 0 && names <= 1)) fail<UsageError>("--names must be between 0 and 1, not {}", names);
  if (!(preferred >= 0 && preferred <= 1))
    fail<UsageError>("--names_after_share must be between 0 and 1, not {}", preferred);
  if (longest_truncation + 2 > length + 1) {
    fail<UsageError>("documents of up to {} and two marks do not fit examples of {}", plural(longest_truncation, "character"),
                     length);
  }
}

data::Example corrupt(const std::vector<std::int64_t>& document, const CorruptionRules& rules, std::uint64_t seed, std::uint64_t stream) {
  StreamReader draw(seed, stream);
  const std::int64_t drawn = draw.next_integer(rules.shortest_truncation, rules.longest_truncation);
  const std::int64_t size = std::min(drawn, static_cast<std::int64_t>(document.size()));
  const std::int64_t least = std::min(size, std::max<std::int64_t>(1, std::llround(rules.shortest_mask * size)));
  const std::int64_t most = std::min(size, std::max(least, static_cast<std::int64_t>(std::llround(rules.longest_mask * size))));
  const std::int64_t span = draw.next_integer(least, most), start = draw.next_integer(0, size - span);

  std::vector<std::int64_t> ids(document.begin(), document.begin() + start);
  ids.push_back(Vocabulary::mask);
  ids.insert(ids.end(), document.begin() + start + span, document.begin() + size);
  ids.push_back(Vocabulary::mask);
  ids.insert(ids.end(), document.begin() + start, document.begin() + start + span);
  const auto full = static_cast<std::size_t>(rules.length + 1);
  if (ids.size() > full) fail("a corrupted document of {} characters does not fit {}", ids.size(), full);
  ids.resize(full, Vocabulary::pad);
  return {{ids.begin(), ids.end() - 1}, {ids.begin() + 1, ids.end()}};
}

std::vector<std::int64_t> batch_items(std::int64_t count, std::int64_t batch_size, std::int64_t index, bool shuffle, std::uint64_t seed,
                                      std::int64_t epoch) {
  std::vector<std::int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  if (shuffle) {
    StreamReader draw(seed, order_streams + static_cast<std::uint64_t>(epoch));
    for (std::int64_t i = count - 1; i > 0; --i) std::swap(order[i], order[draw.next_integer(0, i)]);
  }
  const std::int64_t begin = index * batch_size, end = std::min(count, begin + batch_size);
  return {order.begin() + begin, order.begin() + end};
}

SpanCorruption::SpanCorruption(const Corpus& corpus, const CorruptionRules& rules, std::int64_t batch_size, std::uint64_t seed, bool shuffle)
    : corpus_(&corpus), rules_(rules), batch_size_(batch_size), seed_(seed), shuffle_(shuffle) {
  if (batch_size < 1) fail<UsageError>("batch_size must be at least 1, not {}", batch_size);
  rules.validate();
  if (rules.names > 0) {
    for (const auto& document : corpus.documents)
      mentions_.push_back(find_mentions(corpus.vocabulary.decode(document), rules.keyword));
  }
}

std::int64_t SpanCorruption::batches_per_epoch() const {
  return (static_cast<std::int64_t>(corpus_->documents.size()) + batch_size_ - 1) / batch_size_;
}

std::int64_t SpanCorruption::counted_tokens_per_epoch() const { return static_cast<std::int64_t>(corpus_->documents.size()) * rules_.length; }

data::Example SpanCorruption::example(std::int64_t epoch, std::int64_t document) const {
  const auto stream = static_cast<std::uint64_t>(epoch) * corpus_->documents.size() + static_cast<std::uint64_t>(document);
  if (rules_.names > 0) {
    StreamReader draw(seed_, name_streams + stream);
    if (draw.next_uniform() < rules_.names) {
      const auto asked =
          ask_for_name(corpus_->documents[document], mentions_[document], rules_.preferred, rules_.length, draw);
      if (asked) return *asked;
    }
  }
  return corrupt(corpus_->documents[document], rules_, seed_, stream);
}

std::string SpanCorruption::unread_text() const {
  const auto longest = static_cast<std::size_t>(rules_.longest_truncation);
  std::size_t documents = 0, characters = 0, in_reach = 0;
  for (const auto& document : corpus_->documents) {
    documents += !document.empty();
    characters += document.size();
    in_reach += std::min(document.size(), longest);
  }
  constexpr std::size_t hardly = 10;
  if (documents == 0 || in_reach == characters || (documents > 1 && hardly * in_reach > characters)) return "";
  return fmt::format("{}: {} of {} characters, of which at most {} are ever read{}: a document is a line", corpus_->path,
                     plural(documents, "document"), in_prose(characters), longest,
                     documents == 1 ? "" : " of each");
}

std::string SpanCorruption::names_summary() const {
  const auto with_names = std::ranges::count_if(mentions_, [](const Mentions& m) { return !m.names.empty(); });
  const auto with_preferred = std::ranges::count_if(mentions_, [](const Mentions& m) { return m.preferred >= 0; });
  std::string summary = fmt::format("names: in {} of {}", in_prose(with_names), plural(mentions_.size(), "document"));
  if (!rules_.keyword.empty())
    summary += fmt::format(", in {} one behind '{}'", with_preferred, data::encode_utf8(rules_.keyword));
  return summary + (with_names == 0 ? ": nothing but span corruption is left" : "");
}

data::Batch SpanCorruption::batch(std::int64_t epoch, std::int64_t index) const {
  std::vector<data::Example> examples;
  for (std::int64_t item : batch_items(corpus_->documents.size(), batch_size_, index, shuffle_, seed_, epoch)) examples.push_back(example(epoch, item));
  return data::collate(examples);
}

}  // namespace gradus::tasks
