// The readers under libFuzzer: tools/fuzz.sh runs this program once for each.
//   GRADUS_FUZZ_READER=NAME fuzz_readers [libFuzzer's options] CORPUS
//   fuzz_readers --list            the readers' names
//   fuzz_readers --seeds FOLDER    writes each reader's good inputs to FOLDER/NAME
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "framework/io/files.h"
#include "framework/kernels/cpu/parallel.h"
#include "tests/fuzz/mutators.h"
#include "tests/fuzz/reader.h"

using namespace gradus;

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t capacity);

namespace {

/// Under sanitizers, beside other work; a hang is libFuzzer's own timeout.
constexpr double seconds = 20;

const fuzz::Reader* chosen = nullptr;

[[noreturn]] void end(const std::string& message) {
  std::fprintf(stderr, "fuzz_readers: %s\n", message.c_str());
  std::_Exit(2);
}

void write_seeds(const std::filesystem::path& folder) {
  for (const fuzz::Reader& reader : fuzz::readers()) {
    std::filesystem::create_directories(folder / reader.name);
    int number = 0;
    for (const std::string& seed : reader.seeds()) io::write_file_atomically(folder / reader.name / ("seed-" + std::to_string(number++)), seed);
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  const std::string first = *argc > 1 ? (*argv)[1] : "";
  if (first == "--list") {
    for (const fuzz::Reader& reader : fuzz::readers()) std::puts(reader.name.c_str());
    std::exit(0);
  }
  if (first == "--seeds" && *argc == 3) {
    write_seeds((*argv)[2]);
    std::exit(0);
  }
  const char* name = std::getenv("GRADUS_FUZZ_READER");
  if (!name) end("GRADUS_FUZZ_READER names no reader; --list shows them");
  for (const fuzz::Reader& reader : fuzz::readers()) {
    if (reader.name == name) chosen = &reader;
  }
  if (!chosen) end(std::string("there is no reader '") + name + "'; --list shows them");
  cpu::set_thread_count(1);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    fuzz::judge(*chosen, {reinterpret_cast<const char*>(data), size}, seconds);
  } catch (const fuzz::Finding& finding) {
    std::fprintf(stderr, "FINDING in %s: %s\n", chosen->name.c_str(), finding.what());
    std::abort();
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t capacity, unsigned seed) {
  fuzz::Draw draw(seed);
  if (draw.one_in(2)) return LLVMFuzzerMutate(data, size, capacity);
  const std::string changed = fuzz::mutant(chosen->form, {reinterpret_cast<const char*>(data), size}, draw);
  if (changed.empty() || changed.size() > capacity) return LLVMFuzzerMutate(data, size, capacity);
  std::memcpy(data, changed.data(), changed.size());
  return changed.size();
}
