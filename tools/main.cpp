// gradus: the program. Parses, runs the subcommand, and turns exceptions into sentences and exit codes.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>

#include "framework/base/error.h"
#include "framework/base/instructions.h"
#include "framework/base/printable.h"
#include "framework/train/signals.h"
#include "tools/arguments.h"
#include "tools/commands.h"
#include "tools/devices.h"
#include "tools/help_formatter.h"
#include "tools/options.h"
#include "tools/printable_streams.h"
#include "tools/process.h"
#include "tools/start.h"

namespace {

constexpr int failed = 1, usage = 2, bad_input = 3, numeric = 4;

/// One line: a newline in it is an argument's or a file's. `kept`: controls that are the message's own.
int report(const char* message, int status, std::string_view kept = "") {
  std::cout.flush();
  try {
    std::fputs(("gradus: " + gradus::printable(message, kept) + "\n").c_str(), stderr);
  } catch (const std::bad_alloc&) {
    std::fputs("gradus: out of memory\n", stderr);
  }
  return status;
}

int run(int argc, char** argv) {
  using namespace gradus;
  tools::install_devices();
  CLI::App program(
      "A deep-learning framework to read, learn from and train with.\n\n"
      "  gradus demo                        the whole job on a small built-in world\n"
      "  gradus pretrain vanilla wiki.txt --writing_params_path pretrained.params\n"
      "  gradus gradcheck --op layer_norm   is this gradient right?\n\n"
      "Exit codes: 0 done, 1 failed, 2 usage, 3 input file, 4 not a number,\n129/130/143 interrupted.",
      "gradus");
  program.formatter(std::make_shared<tools::HelpFormatter>());
  program.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  program.set_version_flag("--version", [] { return "gradus 0.1.0\ninstructions: " + describe_instructions(); });
  program.require_subcommand(1);
  tools::add_demo(program);
  tools::add_pretrain(program);
  tools::add_pretrain_text(program);
  tools::add_finetune(program);
  tools::add_evaluate(program);
  tools::add_data(program);
  tools::add_london_baseline(program);
  tools::add_sample(program);
  tools::add_inspect(program);
  tools::add_world(program);
  tools::add_bench(program);
  tools::add_gradcheck(program);
  tools::refuse_empty_numbers(program);

  if (argc < 2) {
    std::fputs(program.help().c_str(), stdout);
    return 0;
  }
  tools::MergedArguments merged;
  try {
    merged = tools::merge_arguments(program, argc, argv);
    tools::option_origins() = merged.origins;
    tools::environment_in_force() = merged.environment;
    std::vector<std::string> reversed(merged.arguments.rbegin(), merged.arguments.rend());
    program.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::fputs(program.help().c_str(), stdout);
  } catch (const CLI::CallForVersion& version) {
    std::puts(version.what());
  } catch (const CLI::ParseError& error) {
    return report((tools::explain_parse_error(program, error, merged) + "; see --help").c_str(), usage);
  } catch (const tools::ExitWith& end) {
    return end.status;
  }
  return 0;
}

/// The program as a process of the system; throws what went wrong.
int run_as_process(int argc, char** argv) {
  using namespace gradus;
  tools::start(argv, environ);
  train::take_signals();
  tools::reserve_standard_streams();
  tools::make_standard_streams_printable();
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGXFSZ, SIG_IGN);  // writing beyond `ulimit -f` fails with a reason
  const int status = run(argc, argv);
  if (status != 0 || tools::standard_output_is_whole()) return status;
  return report("standard output: cannot be written, what was printed is not complete", failed);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_as_process(argc, argv);
  } catch (const gradus::UsageError& error) {
    return report(error.what(), usage);
  } catch (const gradus::DataError& error) {
    return report(error.what(), bad_input);
  } catch (const gradus::NumericError& error) {
    return report(error.what(), numeric);
  } catch (const gradus::MemoryError& error) {
    return report(error.what(), failed, "\n");  // with a table
  } catch (const std::bad_alloc&) {
    return report("out of memory", failed);
  } catch (const std::exception& error) {
    return report(error.what(), failed);
  }
}
