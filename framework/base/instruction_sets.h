// The instruction sets beyond the first x86-64 processors' that a compiler uses where it is allowed to, as the two
// compilers GCC and Clang name them. A list ends with a set without a name; on other processors it is empty.
#pragma once

namespace gradus {

struct InstructionSet {
  const char* name;
  bool present;
};

/// What this code was compiled to use: it is compiled with the flags of the kernels.
extern const InstructionSet used_instruction_sets[];

/// What the processor has, in the same order.
const InstructionSet* processor_instruction_sets();

/// Writes which of the used sets the processor lacks, as a sentence, into `text`; false where it lacks none.
bool explain_lack(const InstructionSet* used, const InstructionSet* had, char* text, unsigned long size);

// SET(name for __builtin_cpu_supports, macro that is 1 where the compiler may use it)
#ifdef __x86_64__
#define GRADUS_INSTRUCTION_SETS(SET)          \
  SET("sse3", __SSE3__)                       \
  SET("ssse3", __SSSE3__)                     \
  SET("sse4.1", __SSE4_1__)                   \
  SET("sse4.2", __SSE4_2__)                   \
  SET("popcnt", __POPCNT__)                   \
  SET("avx", __AVX__)                         \
  SET("avx2", __AVX2__)                       \
  SET("fma", __FMA__)                         \
  SET("bmi", __BMI__)                         \
  SET("bmi2", __BMI2__)                       \
  SET("avx512f", __AVX512F__)                 \
  SET("avx512cd", __AVX512CD__)               \
  SET("avx512bw", __AVX512BW__)               \
  SET("avx512dq", __AVX512DQ__)               \
  SET("avx512vl", __AVX512VL__)               \
  SET("avx512ifma", __AVX512IFMA__)           \
  SET("avx512vbmi", __AVX512VBMI__)           \
  SET("avx512vbmi2", __AVX512VBMI2__)         \
  SET("avx512vnni", __AVX512VNNI__)           \
  SET("avx512bitalg", __AVX512BITALG__)       \
  SET("avx512vpopcntdq", __AVX512VPOPCNTDQ__) \
  SET("avx512bf16", __AVX512BF16__)           \
  SET("gfni", __GFNI__)
#else
#define GRADUS_INSTRUCTION_SETS(SET)
#endif

}  // namespace gradus
