#include <iostream>

#include "tasks/birthplace/evaluation.h"
#include "tools/commands.h"
#include "tools/options.h"

namespace gradus::tools {

void add_london_baseline(CLI::App& program) {
  auto path = std::make_shared<std::string>("birth_dev.tsv");  // as in the assignment, whose script takes no path
  CLI::App* command = program.add_subcommand("london_baseline", "Score the answer London for every question");
  command->add_option("QUESTIONS", *path, "Questions and places, separated by tabs")->capture_default_str();
  add_examples(*command, "  gradus london_baseline\n  gradus london_baseline birth_dev.tsv");
  command->callback([path] {
    const tasks::QuestionFile file = tasks::load_questions(*path, tasks::Places::needed);
    print_notices(file.notices);
    std::cout << tasks::london_baseline(file.questions).course_line() << "\n";
  });
}

}  // namespace gradus::tools
