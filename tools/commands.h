// The subcommands of `gradus`, one file each. A command adds itself to the parser; what it does runs after parsing.
#pragma once

#include "tools/command_line.h"

namespace gradus::tools {

void add_pretrain(Command program);
void add_finetune(Command program);
void add_evaluate(Command program);
void add_data(Command program);
void add_london_baseline(Command program);
void add_sample(Command program);
void add_inspect(Command program);
void add_bench(Command program);
void add_gradcheck(Command program);
void add_world(Command program);
void add_demo(Command program);

/// Thrown to end the program with a status that is not an error's.
struct ExitWith {
  int status;
};

}  // namespace gradus::tools
