// Compiled with the flags of the kernels, once for each level. The build defines GRADUS_INSTRUCTIONS, the level or
// -march, and GRADUS_INSTRUCTIONS_CHOSEN, when it was chosen.
#include "framework/base/instructions.h"

#include <string_view>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "framework/base/instruction_sets.h"

namespace gradus {

// A macro of the compiler's that is not defined stays its own name.
#define TEXT(macro) #macro
#define USED(name, macro) {name, TEXT(macro)[0] == '1'},
extern constexpr InstructionSet used_instruction_sets[] = {GRADUS_INSTRUCTION_SETS(USED){nullptr, false}};

namespace {

/// The sets that matter to kernels, as people write them.
std::string summary(const InstructionSet* sets) {
  std::string all;
  for (; sets->name; ++sets) {
    if (!sets->present) continue;
    const std::string_view name = sets->name;
    if (name == "avx2") all += ", AVX2";
    if (name == "avx512vl") all += ", AVX-512";
    if (name == "avx512bf16") all += ", AVX-512 bf16";
  }
  return all.substr(all.empty() ? 0 : 2);
}

bool processor_has_amx_bf16() {
#ifdef __x86_64__
  unsigned int a, b, c, d = 0;
  constexpr unsigned int tiles_of_bf16 = 1u << 22 | 1u << 24;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & tiles_of_bf16) == tiles_of_bf16;
#else
  return false;
#endif
}

}  // namespace

std::string instructions_in_use() {
  const std::string used = summary(used_instruction_sets);
  return GRADUS_INSTRUCTIONS + (used.empty() ? "" : " (" + used + ")");
}

std::string describe_instructions() {
  std::string line = instructions_in_use() + ", " + GRADUS_INSTRUCTIONS_CHOSEN;
  std::string had = summary(processor_instruction_sets());
  if (processor_has_amx_bf16()) had += ", AMX bf16";
  return had.empty() ? line : line + "; the processor has " + had;
}

}  // namespace gradus
