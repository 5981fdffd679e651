#include <iostream>

#include "tasks/built_in_world/world.h"
#include "tools/commands.h"
#include "tools/options.h"

namespace gradus::tools {

void add_world(Command program) {
  auto settings = std::make_shared<tasks::WorldSettings>();
  auto folder = std::make_shared<std::string>();
  const Command command = program.add_subcommand(
      "world", "Write the files of an invented world: corpus, training questions, held-out questions");
  command.add_option("FOLDER", *folder, "corpus.txt, train.tsv and held_out.tsv go there").required();
  command.add_integer("--train_people", settings->train_people, "People in the finetuning questions");
  command.add_integer("--held_out_people", settings->held_out_people,
                      "People whose birthplace stands in the corpus only");
  command.add_integer("--places", settings->places, "Places, at most 24");
  command.add_integer("--fewest_documents", settings->fewest_documents, "Documents about a person, at least");
  command.add_integer("--most_documents", settings->most_documents, "Documents about a person, at most");
  command.add_seed(settings->seed, "Another world");
  command.add_examples(
      "  gradus world demo-world\n  gradus world big-world --train_people 1000 --held_out_people 500 --seed 7");
  command.set_action([=] {
    tasks::write_world(tasks::make_world(*settings), *folder);
    std::cout << fmt::format("wrote {0}/corpus.txt, {0}/train.tsv and {0}/held_out.tsv\n", *folder);
  });
}

}  // namespace gradus::tools
