#include <iostream>

#include "tasks/built_in_world/world.h"
#include "tools/commands.h"
#include "tools/options.h"

namespace gradus::tools {

void add_world(CLI::App& program) {
  auto settings = std::make_shared<tasks::WorldSettings>();
  auto folder = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand("world", "Write the files of an invented world: corpus, training questions, held-out questions");
  command->add_option("FOLDER", *folder, "corpus.txt, train.tsv and held_out.tsv go there")->required();
  add_integer(*command, "--train_people", settings->train_people, "People in the finetuning questions");
  add_integer(*command, "--held_out_people", settings->held_out_people, "People whose birthplace stands in the corpus only");
  add_integer(*command, "--places", settings->places, "Places, at most 24");
  add_integer(*command, "--fewest_documents", settings->fewest_documents, "Documents about a person, at least");
  add_integer(*command, "--most_documents", settings->most_documents, "Documents about a person, at most");
  add_seed(*command, settings->seed, "Another world");
  add_examples(*command, "  gradus world demo-world\n  gradus world big-world --train_people 1000 --held_out_people 500 --seed 7");
  command->callback([=] {
    tasks::write_world(tasks::make_world(*settings), *folder);
    std::cout << fmt::format("wrote {0}/corpus.txt, {0}/train.tsv and {0}/held_out.tsv\n", *folder);
  });
}

}  // namespace gradus::tools
