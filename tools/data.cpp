#include <iostream>

#include "framework/data/utf8.h"
#include "tasks/birthplace/names.h"
#include "tasks/span_corruption/span_corruption.h"
#include "tools/commands.h"
#include "tools/options.h"

namespace gradus::tools {
namespace {

constexpr std::int64_t shown_examples = 4, block_size = 128;

void print_example(const data::Vocabulary& vocabulary, const data::Example& example) {
  std::cout << "x: " << data::encode_utf8(vocabulary.decode(example.input)) << "\n"
            << "y: " << data::encode_utf8(vocabulary.decode(example.target)) << "\n";
}

}  // namespace

void add_data(CLI::App& program) {
  CLI::App* data = program.add_subcommand("data", "Show what the models are trained on");
  data->require_subcommand(1);
  // As in the assignment, whose script takes no paths.
  auto corpus_path = std::make_shared<std::string>("wiki.txt"),
       names_path = std::make_shared<std::string>("birth_places_train.tsv");
  auto seed = std::make_shared<std::uint64_t>(1);

  CLI::App* names = data->add_subcommand("namedata", "The first finetuning examples, as input x and target y");
  names->add_option("CORPUS", *corpus_path, "Pretraining corpus; it defines the vocabulary")->capture_default_str();
  names->add_option("NAMES", *names_path, "Questions and places, separated by tabs")->capture_default_str();
  add_examples(*names, "  gradus data namedata\n  gradus data namedata wiki.txt birth_places_train.tsv");
  names->callback([=] {
    const tasks::Corpus corpus = tasks::load_corpus(*corpus_path);
    print_notices(corpus.notices);
    std::cout << corpus.summary() << "\n";
    const tasks::Names source(*names_path, corpus.vocabulary, block_size - 1, shown_examples, 0);
    print_notices(source.notices());
    for (std::int64_t i = 0; i < std::min<std::int64_t>(shown_examples, source.examples().size()); ++i) {
      print_example(corpus.vocabulary, source.examples()[i]);
    }
  });

  CLI::App* corruption = data->add_subcommand(
      "charcorruption", "The first examples of span corruption, as --edition has it: input x and target y");
  corruption->add_option("CORPUS", *corpus_path, "Pretraining corpus")->capture_default_str();
  add_seed(*corruption, *seed, "Other draws of truncation and span");
  add_examples(*corruption, "  gradus data charcorruption\n  gradus data charcorruption wiki.txt --seed 7");
  corruption->callback([=] {
    const tasks::Corpus corpus = tasks::load_corpus(*corpus_path);
    print_notices(corpus.notices);
    std::cout << corpus.summary() << "\n";
    const tasks::SpanCorruption source(corpus, tasks::assignment_rules(block_size, block_size - 1), shown_examples, *seed);
    for (std::int64_t i = 0; i < std::min<std::int64_t>(shown_examples, corpus.documents.size()); ++i) {
      print_example(corpus.vocabulary, source.example(0, i));
    }
  });
}

}  // namespace gradus::tools
