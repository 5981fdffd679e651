// An invented world in the assignment's file formats: people, their birthplaces, and documents about them. Made so that
// the whole job can be run and tested without anybody's data. A function of its settings and seed alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gradus::tasks {

struct WorldSettings {
  std::int64_t train_people = 120;     ///< their birthplaces stand in the documents and in the finetuning questions
  std::int64_t held_out_people = 120;  ///< their birthplaces stand in the documents only
  std::int64_t places = 24;            ///< 2 to 24; the first is the most frequent
  std::int64_t fewest_documents = 2, most_documents = 3;  ///< for each person, from different templates (at most 6)
  std::uint64_t seed = 1;

  /// Throws UsageError naming the setting that cannot be met.
  void validate() const;
};

struct World {
  std::string corpus;  ///< one document a line: `Captain Nobe Samak. Born in Arvale, Nobe Samak was a poet .`
  std::string train;   ///< `Where was Nobe Samak born?<TAB>Arvale`
  std::string held_out;
};

World make_world(const WorldSettings& settings);

/// Writes corpus.txt, train.tsv and held_out.tsv into a folder, which is created. Throws OutputError where one of them
/// is there with other content.
void write_world(const World& world, const std::string& folder);

}  // namespace gradus::tasks
