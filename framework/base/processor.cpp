// Refuses, before anything else runs, a processor that lacks what the program was compiled to use. So this file is
// compiled for every processor, and calls the C library only: of an inline function the linker may keep another file's
// copy, with the very instructions that are missing.
#include <stdio.h>
#include <unistd.h>

#include "framework/base/instruction_sets.h"

namespace gradus {

const InstructionSet* processor_instruction_sets() {
#define HAD(name, macro) {name, (__builtin_cpu_init(), __builtin_cpu_supports(name) != 0)},
  static InstructionSet had[] = {GRADUS_INSTRUCTION_SETS(HAD){nullptr, false}};
  return had;
}

bool explain_lack(const InstructionSet* used, const InstructionSet* had, char* text, unsigned long size) {
  unsigned long length = 0;
  for (int i = 0; used[i].name; ++i) {
    if (!used[i].present || had[i].present || length >= size) continue;
    length += snprintf(text + length, size - length, "%s%s",
                       length ? ", " : "gradus: this program was compiled to use ", used[i].name);
  }
  if (length == 0) return false;
  if (length < size) {
    snprintf(
        text + length, size - length,
        ", which this processor does not have; compile it here, or with -DGRADUS_ARCH=portable for all processors\n");
  }
  return true;
}

/// Before the other initialisers of the program, which may already use the missing instructions. The build's link
/// options name it.
extern "C" [[gnu::constructor(101)]] void gradus_refuse_unfit_processor() {
  char text[600];
  if (!explain_lack(used_instruction_sets, processor_instruction_sets(), text, sizeof text)) return;
  fputs(text, stderr);
  _exit(1);
}

}  // namespace gradus
