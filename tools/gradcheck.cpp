#include <iostream>

#include "framework/base/error.h"
#include "framework/ops/registry.h"
#include "framework/testing/op_checks.h"
#include "framework/testing/zoo_report.h"
#include "tools/commands.h"
#include "tools/gradcheck_library.h"
#include "tools/options.h"

namespace gradus::tools {
namespace {

struct GradcheckCommandOptions {
  std::string new_op;
  bool all = false, zoo = false;
  LibraryCheckOptions library;  ///< op, seed, list and json are those of built-in ops as well
};

void run_gradcheck(const GradcheckCommandOptions& all_options) {
  if (all_options.zoo) {
    std::cout << testing::to_markdown(testing::visit_zoo());
    return;
  }
  if (!all_options.new_op.empty()) return write_op_template(all_options.new_op);
  if (!all_options.library.library.empty()) return check_library(all_options.library);
  const LibraryCheckOptions& options = all_options.library;
  if (options.list) {
    for (const OpSpec* spec : all_ops()) std::cout << fmt::format("{:30} {}\n", spec->name, spec->summary);
    return;
  }
  if (all_options.all == !options.op.empty()) {
    fail<UsageError>("either --op NAME, --all or --lib FILE is needed; --list shows the names");
  }
  const std::vector<const OpSpec*> ops = all_options.all ? all_ops() : std::vector{&find_op(options.op)};
  prepare_json(options.json);
  testing::CheckOptions check;
  check.seed = options.seed;
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  std::size_t wrong = 0;
  double seconds = 0;
  for (const OpSpec* spec : ops) {
    const testing::RecordReport report = testing::check_record(*spec, check);
    int cases = 0;
    for (const testing::CheckResult& suite : report.suites) cases += suite.cases;
    std::cout << fmt::format("{:30} {:9} {:4} cases  {:6.2f} s\n", spec->name, report.passed() ? "agree" : "DISAGREE", cases, report.seconds)
              << report.text() << std::flush;
    wrong += !report.passed();
    seconds += report.seconds;
    json.push_back({{"op", spec->name}, {"passed", report.passed()}, {"cases", cases}, {"seconds", report.seconds}, {"failures", report.text()}});
  }
  std::cout << fmt::format("{} ops checked, {} wrong, {:.1f} s\n", ops.size(), wrong, seconds);
  write_json(options.json, json);
  if (wrong > 0) throw ExitWith{1};
}

}  // namespace

void add_gradcheck(CLI::App& program) {
  auto options = std::make_shared<GradcheckCommandOptions>();
  CLI::App* command = program.add_subcommand("gradcheck",
                                             "Check ops against their definitions and their gradients against "
                                             "differences");
  LibraryCheckOptions& library = options->library;
  command->add_option("--op", library.op, "One op")->type_name("NAME");
  CLI::Option* all = command->add_flag("--all", options->all, "Every op");
  CLI::Option* list = command->add_flag("--list", library.list, "Names and summaries of all ops");
  command->add_flag("--zoo", options->zoo, "What the checker says about seeded bugs, as Markdown");
  CLI::Option* lib =
      command
          ->add_option("--lib", library.library,
                       "Ops of a shared library (--new writes one), all of them or the one of --op. Exit code 1: "
                       "wrong, 5: cannot tell, 6: crashed or timed out")
          ->type_name("FILE");
  const auto of_library = [&](CLI::Option* option) { option->needs(lib); };
  const auto repeatable = [](CLI::Option* option) {
    return option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  of_library(
      repeatable(command->add_option("--attr", library.attributes, "Another value for an attribute; may be repeated"))
          ->type_name("NAME=NUMBER"));
  of_library(repeatable(command->add_option(
                            "--input", library.inputs,
                            "Another input, as in x=f64[2,3]:normal or x=f64[2,3]:uniform(0,1); may be repeated"))
                 ->type_name("NAME=..."));
  of_library(command->add_option("--timeout", library.timeout, "Seconds for each call into the library")
                 ->check(CLI::PositiveNumber)
                 ->capture_default_str());
  of_library(command->add_flag("--explain", library.explain, "Every number that the verdict rests on"));
  command
      ->add_option("--new", options->new_op,
                   "Write NAME.c, an op in C to start from, and gradus_op.h; say how to build it")
      ->type_name("NAME")
      ->excludes(lib)
      ->excludes(all)
      ->excludes(list);
  lib->excludes(all);
  add_seed(*command, library.seed, "Other inputs, cotangents and directions");
  command->add_option("--json", library.json, "Write the results as JSON to FILE, - for standard output")
      ->type_name("FILE");
  add_examples(*command,
               "  gradus gradcheck --op layer_norm\n  gradus gradcheck --all --seed 7\n  gradus gradcheck --list\n  "
               "gradus gradcheck --new my_op");
  command->callback([options] { run_gradcheck(*options); });
}

}  // namespace gradus::tools
