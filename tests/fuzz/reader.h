// The readers of bytes that others wrote, each as one function, and what is promised of all of them. Which engine makes the
// bytes is another's business: tests/fuzz_corpus_test.cpp takes seeded mutants, libfuzzer.cpp is guided by coverage.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace gradus::fuzz {

/// How mutants of a reader's inputs are made: see mutators.h.
enum class Form { safetensors, json, text, words };

struct Reader {
  std::string name;
  Form form;
  /// Reads; throws what the program would. Throws Finding where what was read, written and read again is another.
  std::function<void(std::string_view bytes)> read;
  /// Part of every refusal: a message that does not say where the fault is helps nobody. Empty: nothing is asked.
  std::string named_in_refusals;
  /// Good inputs, the same in every run.
  std::function<std::vector<std::string>()> seeds;
};

const std::vector<Reader>& readers();

/// The readers of files, and those of words on the command line.
std::vector<Reader> file_readers();
std::vector<Reader> word_readers();

/// A promise that a reader broke.
struct Finding : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Verdict { accepted, refused };

/// Has `reader` read `bytes`. Throws Finding unless it accepts them or refuses them with a DataError, UsageError or NumericError whose
/// message names the file or the flag, within `seconds` of this process's time and `memory_limit`.
Verdict judge(const Reader& reader, std::string_view bytes, double seconds = 1);

/// What tensors may take together. The rest of the memory is limited by who runs the readers.
inline constexpr long long memory_limit = 512 << 20;

/// Throws Finding unless `holds`.
void require(bool holds, const std::string& promise);

}  // namespace gradus::fuzz
