// A program that was compiled to use AVX2, on a processor that has nothing. It must be refused before its first
// initialiser runs, not to speak of main().
#define __builtin_cpu_supports(name) false
#include "framework/base/processor.cpp"

namespace gradus {
#define ONLY_AVX2(name, macro) {name, __builtin_strcmp(name, "avx2") == 0},
extern constexpr InstructionSet used_instruction_sets[] = {GRADUS_INSTRUCTION_SETS(ONLY_AVX2){nullptr, false}};
}  // namespace gradus

/// The earliest that another file can ask for.
[[gnu::constructor(102)]] static void begin() { [[maybe_unused]] const auto length = write(STDOUT_FILENO, "began\n", 6); }

int main() {}
