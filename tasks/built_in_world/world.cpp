#include "tasks/built_in_world/world.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>

#include "framework/base/error.h"
#include "framework/io/files.h"
#include "framework/random/generator.h"

namespace gradus::tasks {
namespace {

constexpr std::array places = {"Arvale", "Bromik", "Cestra", "Dunmor", "Eskaly", "Fenwik", "Gorlan", "Hestia", "Ilvara", "Jornek", "Kelmar", "Lusden",
                               "Morvia", "Nebrin", "Oskund", "Pralin", "Quorth", "Rostel", "Sundby", "Tovarn", "Ulmera", "Vexley", "Wistan", "Zamora"};
/// How many in 240 people are born there.
constexpr std::array place_weights = {24, 18, 16, 14, 13, 12, 11, 11, 10, 10, 10, 9, 9, 9, 8, 8, 8, 7, 7, 6, 6, 5, 5, 4};
static_assert(places.size() == place_weights.size());
constexpr std::array jobs = {"painter", "singer", "poet", "doctor", "sailor", "lawyer", "chemist", "actor"};
constexpr std::array regions = {"north", "south", "east", "west"};
constexpr std::array titles = {"", "", "Sir ", "Captain ", "Colonel ", "Professor "};
/// N full name, P birthplace, Q another place, J profession, Y year.
constexpr std::array templates = {
    "N. N was born in P and worked in Q .", "N. Born in P, N was a J .",
    "N. The J N came from P .",             "N. N, a J from P, died in Q .",
    "N. A native of P, N studied in Q .",   "N. N (born Y in P) was a J .",
};
constexpr std::int64_t given_names = 40;

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : reader_(seed, 0) {}
  /// Uniform in 0..n-1.
  std::int64_t below(std::int64_t n) { return reader_.next_integer(0, n - 1); }
  template <class List>
  std::string from(const List& list) {
    return std::string(1, list[below(static_cast<std::int64_t>(list.size()))]);
  }
  /// Consonant and vowel, with a consonant at the end where closed.
  std::string syllable(bool closed) {
    std::string text = from(std::string_view("bdfghjklmnprstvz")) + from(std::string_view("aeiou"));
    if (closed) text += from(std::string_view("nrlskm"));
    return text;
  }

 private:
  StreamReader reader_;
};

std::string capitalised(std::string word) {
  word[0] = static_cast<char>(word[0] - 'a' + 'A');
  return word;
}

struct Person {
  std::string name;
  std::int64_t place;
};

std::int64_t draw_place(Draw& draw, std::int64_t count) {
  std::int64_t left = draw.below(std::accumulate(place_weights.begin(), place_weights.begin() + count, std::int64_t{0}));
  std::int64_t place = 0;
  while (left >= place_weights[place]) left -= place_weights[place++];
  return place;
}

std::vector<Person> make_people(Draw& draw, const WorldSettings& settings) {
  std::set<std::string> taken(places.begin(), places.end());
  std::vector<std::string> given;
  while (static_cast<std::int64_t>(given.size()) < given_names) {
    std::string name = capitalised(draw.syllable(false) + draw.syllable(draw.below(2) == 0));
    if (taken.insert(name).second) given.push_back(name);
  }
  std::vector<Person> people;
  while (static_cast<std::int64_t>(people.size()) < settings.train_people + settings.held_out_people) {
    const std::string family = capitalised(draw.syllable(draw.below(2) == 0) + draw.syllable(true));
    if (!taken.insert(family).second) continue;
    const std::string name = given[draw.below(given_names)] + " " + family;
    people.push_back({name, draw_place(draw, settings.places)});
  }
  return people;
}

/// k different templates filled in for one person.
void add_documents(Draw& draw, const WorldSettings& settings, const Person& person, std::vector<std::string>& documents) {
  const std::int64_t count = settings.fewest_documents + draw.below(settings.most_documents - settings.fewest_documents + 1);
  std::array<std::int64_t, templates.size()> order;
  std::iota(order.begin(), order.end(), 0);
  const std::string job = jobs[draw.below(jobs.size())], year = std::to_string(1800 + draw.below(200));
  for (std::int64_t i = 0; i < count; ++i) {
    std::swap(order[i], order[i + draw.below(static_cast<std::int64_t>(order.size()) - i)]);
    std::int64_t other = draw.below(settings.places - 1);
    if (other >= person.place) ++other;
    std::string text = titles[draw.below(titles.size())];
    for (const char* c = templates[order[i]]; *c != '\0'; ++c) {
      switch (*c) {
        case 'N': text += person.name; break;
        case 'P': text += places[person.place]; break;
        case 'Q': text += places[other]; break;
        case 'J': text += job; break;
        case 'Y': text += year; break;
        default: text += *c;
      }
    }
    documents.push_back(text);
  }
}

}  // namespace

void WorldSettings::validate() const {
  const auto within = [](const char* name, std::int64_t value, std::int64_t low, std::int64_t high) {
    if (value < low || value > high) fail<UsageError>("{} must be between {} and {}, not {}", name, low, high, value);
  };
  within("train_people", train_people, 1, 5000);
  within("held_out_people", held_out_people, 1, 5000);
  within("places", places, 2, static_cast<std::int64_t>(tasks::places.size()));
  within("fewest_documents", fewest_documents, 1, static_cast<std::int64_t>(templates.size()));
  within("most_documents", most_documents, fewest_documents, static_cast<std::int64_t>(templates.size()));
}

World make_world(const WorldSettings& settings) {
  settings.validate();
  Draw draw(settings.seed);
  const std::vector<Person> people = make_people(draw, settings);
  std::vector<std::string> documents;
  for (const Person& person : people) add_documents(draw, settings, person, documents);
  // A line for each place; these also bring the question's characters into the vocabulary.
  for (std::int64_t place = 0; place < settings.places; ++place) {
    documents.push_back(fmt::format("{0}. Where is {0}? In the {1} .", places[place], regions[draw.below(regions.size())]));
  }
  for (std::size_t i = documents.size() - 1; i > 0; --i) std::swap(documents[i], documents[draw.below(static_cast<std::int64_t>(i) + 1)]);
  World world;
  for (const std::string& document : documents) world.corpus += document + "\n";
  for (std::size_t i = 0; i < people.size(); ++i) {
    std::string& questions = static_cast<std::int64_t>(i) < settings.train_people ? world.train : world.held_out;
    questions += fmt::format("Where was {} born?\t{}\n", people[i].name, places[people[i].place]);
  }
  return world;
}

void write_world(const World& world, const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail<OutputError>("{}: the folder cannot be made: {}", folder, error.message());
  const std::map<std::string, const std::string*> files = {{folder + "/corpus.txt", &world.corpus},
                                                           {folder + "/train.tsv", &world.train},
                                                           {folder + "/held_out.tsv", &world.held_out}};
  for (const auto& [path, text] : files) {
    if (io::is_there(path) && io::read_file(path) != *text)
      fail<OutputError>("{}: is there already, with other content", path);
  }
  for (const auto& [path, text] : files) io::write_file_atomically(path, *text);
}

}  // namespace gradus::tasks
