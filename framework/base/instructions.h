// Which processors the numeric code was compiled for, and which one it runs on.
#pragma once

#include <string>

namespace gradus {

/// "x86-64-v4 (AVX2, AVX-512)".
std::string instructions_in_use();

/// One line: "x86-64-v4 (AVX2, AVX-512), chosen at start; the processor has AVX2, AVX-512, AVX-512 bf16, AMX bf16".
std::string describe_instructions();

}  // namespace gradus
