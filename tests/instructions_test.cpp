// What the code was compiled for, what the processor has, and what is said where the two do not fit.
#include "framework/base/instructions.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "framework/base/instruction_sets.h"
#include "tests/program.h"

using namespace gradus;

namespace {

std::string lack(const std::vector<InstructionSet>& used, const std::vector<InstructionSet>& had,
                 unsigned long size = 600) {
  std::string text(size, '\0');
  if (!explain_lack(used.data(), had.data(), text.data(), size)) return "nothing";
  return text.substr(0, text.find('\0'));
}

const InstructionSet end = {nullptr, false};

}  // namespace

TEST_CASE("a processor that lacks what is used is refused in a sentence; what is not used may be missing") {
  const std::vector<InstructionSet> used = {{"avx", true}, {"avx2", true}, {"avx512f", true}, {"gfni", false}, end};
  CHECK(lack(used, {{"avx", true}, {"avx2", true}, {"avx512f", true}, {"gfni", false}, end}) == "nothing");
  CHECK(lack(used, {{"avx", true}, {"avx2", false}, {"avx512f", false}, {"gfni", false}, end}) ==
        "gradus: this program was compiled to use avx2, avx512f, which this processor does not have; compile it here, "
        "or with -DGRADUS_ARCH=portable for all processors\n");
  CHECK(lack({end}, {end}) == "nothing");
  CHECK(lack(used, {{"avx", false}, {"avx2", false}, {"avx512f", false}, {"gfni", false}, end}, 60) ==
        "gradus: this program was compiled to use avx, avx2, avx512f");
}

TEST_CASE("this processor has what this code was compiled to use, in lists of the same order") {
  const InstructionSet* had = processor_instruction_sets();
  for (const InstructionSet* used = used_instruction_sets; used->name; ++used, ++had) {
    CAPTURE(used->name);
    REQUIRE(had->name);
    CHECK(std::strcmp(used->name, had->name) == 0);
    CHECK((had->present || !used->present));
  }
  CHECK(!had->name);
}

#ifdef __x86_64__
TEST_CASE("an unfit processor is refused before the program's first initialiser") {
  const TemporaryFolder folder;
  const Outcome outcome = Program(folder, {GRADUS_UNFIT_PROGRAM}).wait();
  CHECK(outcome.status == 1);
  CHECK(outcome.out == "");
  CHECK(outcome.err.starts_with("gradus: this program was compiled to use avx2, which this processor does not have;"));
}
#endif

TEST_CASE("the loader took the level that was asked for (tests/at_level.sh)" *
          doctest::skip(!std::getenv("GRADUS_EXPECTED_LEVEL"))) {
  const std::string level = std::getenv("GRADUS_EXPECTED_LEVEL");
  const std::string instructions = describe_instructions();
  CAPTURE(instructions);
  CHECK(instructions.substr(0, instructions.find_first_of(" ,")) == level);
  CHECK(instructions.find("chosen at start") != std::string::npos);
  CHECK((instructions.find("(AVX2, AVX-512)") != std::string::npos) == (level == "x86-64-v4"));
  const TemporaryFolder folder;
  CHECK(run_program(folder, {"--version"}).out.ends_with("\ninstructions: " + instructions + "\n"));
}
