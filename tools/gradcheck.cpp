#include <iostream>

#include "framework/base/error.h"
#include "framework/ops/registry.h"
#include "framework/testing/op_checks.h"
#include "framework/testing/zoo_report.h"
#include "tools/commands.h"
#include "tools/options.h"

namespace gradus::tools {
namespace {

struct GradcheckCommandOptions {
  std::string op, json;
  bool all = false, list = false, zoo = false;
  std::uint64_t seed = 1;
};

void run_gradcheck(const GradcheckCommandOptions& options) {
  if (options.zoo) {
    std::cout << testing::to_markdown(testing::visit_zoo());
    return;
  }
  if (options.list) {
    for (const OpSpec* spec : all_ops()) std::cout << fmt::format("{:30} {}\n", spec->name, spec->summary);
    return;
  }
  if (options.all == !options.op.empty()) fail<UsageError>("either --op NAME or --all is needed; --list shows the names");
  const std::vector<const OpSpec*> ops = options.all ? all_ops() : std::vector{&find_op(options.op)};
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
  CLI::App* command = program.add_subcommand("gradcheck", "Check ops against their definitions and their gradients against differences");
  command->add_option("--op", options->op, "One op")->type_name("NAME");
  command->add_flag("--all", options->all, "Every op");
  command->add_flag("--list", options->list, "Names and summaries of all ops");
  command->add_flag("--zoo", options->zoo, "What the checker says about seeded bugs, as Markdown");
  add_seed(*command, options->seed, "Other cotangents and directions");
  command->add_option("--json", options->json, "Write the results as JSON to FILE, - for standard output")->type_name("FILE");
  add_examples(*command, "  gradus gradcheck --op layer_norm\n  gradus gradcheck --all --seed 7\n  gradus gradcheck --list");
  command->callback([options] { run_gradcheck(*options); });
}

}  // namespace gradus::tools
