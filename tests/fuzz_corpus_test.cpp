// Every reader of foreign bytes against a fixed corpus: its good inputs, and mutants of them that are the same in every run.
// tools/fuzz.sh looks further, guided by coverage.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cstdio>

#include "framework/base/error.h"
#include "framework/io/files.h"
#include "framework/io/safetensors.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/tensor/creation.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/mutators.h"
#include "tests/fuzz/reader.h"
#include "tests/messages.h"

using namespace gradus;
using fuzz::Reader;
using fuzz::Verdict;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
constexpr double seconds = sanitized ? 20 : 2;  // with room for what else the machine does
constexpr int mutants = sanitized ? 150 : 500;

/// Memory beyond tensors: an address space that a reader of small files cannot fill. Sanitizers need all of it.
void limit_memory() {
  if (sanitized) return;
  constexpr rlim_t limit = rlim_t{4} << 30;
  const rlimit both{limit, limit};
  REQUIRE(::setrlimit(RLIMIT_AS, &both) == 0);
}

/// As it can be pasted into a shell's printf or a test.
std::string shown(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes.substr(0, 3000)) {
    const bool plain = byte >= ' ' && byte < 0x7f && byte != '\\';
    text += plain ? std::string(1, byte) : fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  }
  return text + (bytes.size() > 3000 ? fmt::format("... ({} bytes)", bytes.size()) : "");
}

/// The broken promise, or nothing.
std::string finding(const Reader& reader, const std::string& bytes) {
  return message_of<fuzz::Finding>([&] { fuzz::judge(reader, bytes, seconds); });
}

std::string promise_broken_by(std::function<void(std::string_view)> read) {
  return finding({"planted", fuzz::Form::text, std::move(read), "the file", {}}, "bytes");
}

}  // namespace

TEST_CASE("good inputs are read, and mutants of them are read or refused") {
  limit_memory();
  cpu::set_thread_count(1);
  for (const Reader& reader : fuzz::readers()) {
    CAPTURE(reader.name);
    const std::vector<std::string> seeds = reader.seeds();
    REQUIRE(!seeds.empty());
    int accepted = 0, refused = 0;
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      CHECK_MESSAGE(finding(reader, seeds[i]) == "no error", "seed ", i);
      accepted += fuzz::judge(reader, seeds[i], seconds) == Verdict::accepted;
    }
    CHECK_MESSAGE(accepted > 0, "no good input is accepted");
    accepted = 0;
    for (int number = 0; number < mutants; ++number) {
      fuzz::Draw draw(static_cast<std::uint64_t>(number));
      const std::string bytes = fuzz::mutant(reader.form, seeds[static_cast<std::size_t>(number) % seeds.size()], draw);
      try {
        (fuzz::judge(reader, bytes, seconds) == Verdict::accepted ? accepted : refused) += 1;
      } catch (const fuzz::Finding& broken) {
        FAIL_CHECK("mutant ", number, ": ", std::string(broken.what()), "\n", shown(bytes));
      }
    }
    MESSAGE(reader.name, ": ", accepted, " mutants accepted, ", refused, " refused");
    // Mutants that all stop at the first gate, or all pass, say nothing.
    CHECK(accepted >= mutants / 100);
    CHECK((refused >= mutants / 20 || reader.name == "metrics"));
  }
}

TEST_CASE("the judge notices each kind of broken promise") {
  CHECK(promise_broken_by([](std::string_view) {}) == "no error");
  CHECK(promise_broken_by([](std::string_view) { fail<DataError>("the file: line 3: is damaged"); }) == "no error");
  CHECK(promise_broken_by([](std::string_view) { fail<UsageError>("the file: 'sed' is no option"); }) == "no error");
  CHECK(has(promise_broken_by([](std::string_view) { fail<DataError>("line 3 is damaged"); }), "does not name 'the file'"));
  CHECK(has(promise_broken_by([](std::string_view) { throw std::out_of_range("vector::at"); }), "an exception that is not ours: vector::at"));
  CHECK(has(promise_broken_by([](std::string_view) { throw std::bad_alloc(); }), "an exception that is not ours"));
  CHECK(has(promise_broken_by([](std::string_view) { fail("the file: shapes differ"); }), "an error that is not the input's"));
  CHECK(has(promise_broken_by([](std::string_view) { ones({1 << 30}); }), "an error that is not the input's"));
  CHECK(has(promise_broken_by([](std::string_view) { fuzz::require(1 + 1 == 3, "another number"); }), "another number"));
  const Reader slow{"slow", fuzz::Form::text, [](std::string_view) {
                      volatile double sum = 0;
                      for (int i = 0; i < 20000000; ++i) sum = sum + i;
                    }, "", {}};
  CHECK(has(message_of<fuzz::Finding>([&] { fuzz::judge(slow, "", 0.001); }), "seconds for 0 bytes"));
}

TEST_CASE("planted defects in readers are found by their mutants") {
  const auto finds = [](const Reader& reader) {
    const std::vector<std::string> seeds = reader.seeds();
    for (int number = 0; number < 500; ++number) {
      fuzz::Draw draw(static_cast<std::uint64_t>(number));
      if (finding(reader, fuzz::mutant(reader.form, fuzz::Draw(number).of(seeds), draw)) != "no error") return true;
    }
    return false;
  };
  const auto named = [](const std::string& name) {
    for (const Reader& reader : fuzz::readers()) {
      if (reader.name == name) return reader;
    }
    throw std::logic_error("no reader " + name);
  };
  // Each wraps the real reader: only what gets past its gates meets the defect.
  Reader values = named("safetensors");
  values.read = [](std::string_view bytes) {  // behind the checksum
    const fuzz::InputFile file(bytes);
    for (const auto& [name, tensor] : io::read_safetensors(file.path()).tensors) {
      if (name != "weight" || tensor.dtype() != DType::f32) continue;
      for (const double value : tensor.to_vector<double>()) {
        if (value != 1) throw std::out_of_range("planted");
      }
    }
  };
  CHECK(finds(values));
  Reader settings = named("settings");
  settings.read = [](std::string_view bytes) {
    if (bytes.find("[[[[[[[[") != std::string_view::npos) throw std::length_error("planted");
  };
  CHECK(finds(settings));
  Reader ends = named("questions");
  ends.read = [](std::string_view bytes) {
    if (bytes.find("\r\n") != std::string_view::npos) throw std::length_error("planted");
  };
  CHECK(finds(ends));
}

TEST_CASE("mutants of safetensors get past the checksum") {
  for (const Reader& reader : fuzz::readers()) {
    if (reader.form != fuzz::Form::safetensors) continue;
    for (const std::string& seed : reader.seeds()) CHECK(finding(reader, fuzz::with_right_checksum(seed)) == "no error");
  }
  const std::string seed = fuzz::readers()[0].seeds()[0];
  std::string flipped = seed;
  flipped.back() = static_cast<char>(flipped.back() ^ 1);
  const auto read = [](const std::string& bytes) {
    return message_of<DataError>([&] { io::read_safetensors(fuzz::InputFile(bytes).path()); });
  };
  CHECK(read(seed) == "no error");
  CHECK(has(read(flipped), "checksum"));
  CHECK(read(fuzz::with_right_checksum(flipped)) == "no error");
}

TEST_CASE("an input that the fuzzer kept is judged by name: GRADUS_FUZZ_READER and GRADUS_FUZZ_INPUT") {
  const char *name = std::getenv("GRADUS_FUZZ_READER"), *path = std::getenv("GRADUS_FUZZ_INPUT");
  if (!name || !path) return;
  for (const Reader& reader : fuzz::readers()) {
    if (reader.name == name) CHECK(finding(reader, io::read_file(path)) == "no error");
  }
}
