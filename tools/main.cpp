// gradus: the program. Parses, runs the subcommand, and turns exceptions into sentences and exit codes.
#include <csignal>
#include <cstdio>
#include <iostream>

#include "framework/base/error.h"
#include "framework/base/instructions.h"
#include "framework/base/printable.h"
#include "tools/arguments.h"
#include "tools/commands.h"
#include "tools/devices.h"
#include "tools/options.h"
#include "tools/printable_streams.h"
#include "tools/process.h"

namespace {

constexpr int failed = 1, usage = 2, bad_input = 3, numeric = 4;

/// One line: a newline in it is an argument's or a file's. `kept`: controls that are the message's own.
int report(const std::string& message, int status, std::string_view kept = "") {
  std::cout.flush();
  std::fputs(("gradus: " + gradus::printable(message, kept) + "\n").c_str(), stderr);
  return status;
}

int run(int argc, char** argv) {
  using namespace gradus;
  tools::install_devices();
  CLI::App program(
      "A deep-learning framework to read, learn from and train with.\n\n"
      "  gradus demo                                       the whole job on a small built-in world\n"
      "  gradus pretrain vanilla wiki.txt --writing_params_path vanilla.pretrain.params\n"
      "  gradus gradcheck --op layer_norm                  is this gradient right?\n\n"
      "Exit codes: 0 done, 1 failed, 2 usage, 3 input file, 4 not a number, 129/130/143 interrupted.",
      "gradus");
  program.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  program.set_version_flag("--version", [] { return "gradus 0.1.0\ninstructions: " + describe_instructions(); });
  program.require_subcommand(1);
  program.get_formatter()->column_width(34);
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

  tools::MergedArguments merged;
  if (argc < 2) {
    std::fputs(program.help().c_str(), stdout);
    return 0;
  }
  try {
    merged = tools::merge_arguments(program, argc, argv);
    tools::option_origins() = merged.origins;
    std::vector<std::string> reversed(merged.arguments.rbegin(), merged.arguments.rend());
    program.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::fputs(program.help().c_str(), stdout);
  } catch (const CLI::CallForVersion& version) {
    std::puts(version.what());
  } catch (const CLI::ParseError& error) {
    return report(tools::explain_parse_error(program, error, merged) + "; see --help", usage);
  } catch (const tools::ExitWith& end) {
    return end.status;
  } catch (const UsageError& error) {
    return report(error.what(), usage);
  } catch (const DataError& error) {
    return report(error.what(), bad_input);
  } catch (const NumericError& error) {
    return report(error.what(), numeric);
  } catch (const MemoryError& error) {
    return report(error.what(), failed, "\n");  // with a table
  } catch (const std::bad_alloc&) {
    return report("out of memory", failed);
  } catch (const std::exception& error) {
    return report(error.what(), failed);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  gradus::tools::let_waiting_threads_sleep(argv);
  gradus::tools::reserve_standard_streams();
  gradus::tools::make_standard_streams_printable();
  std::signal(SIGPIPE, SIG_DFL);
  const int status = run(argc, argv);
  if (gradus::tools::standard_output_is_whole() || status != 0) return status;
  return report("standard output: cannot be written, what was printed is not complete", failed);
}
