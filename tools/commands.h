// The subcommands of `gradus`, one file each. A command adds itself to the parser; what it does runs after parsing.
#pragma once

#include <CLI/CLI.hpp>

namespace gradus::tools {

void add_pretrain(CLI::App& program);
void add_pretrain_text(CLI::App& program);
void add_finetune(CLI::App& program);
void add_evaluate(CLI::App& program);
void add_data(CLI::App& program);
void add_london_baseline(CLI::App& program);
void add_sample(CLI::App& program);
void add_inspect(CLI::App& program);
void add_bench(CLI::App& program);
void add_gradcheck(CLI::App& program);
void add_world(CLI::App& program);
void add_demo(CLI::App& program);

/// Thrown to end the program with a status that is not an error's.
struct ExitWith {
  int status;
};

}  // namespace gradus::tools
