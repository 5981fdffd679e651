#include <ctime>

#include "framework/base/error.h"
#include "framework/tensor/memory.h"
#include "tests/fuzz/reader.h"

namespace gradus::fuzz {
namespace {

double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Verdict refusal(const Reader& reader, const std::string& message) {
  require(!message.empty(), "a refusal without a message");
  require(message.find(reader.named_in_refusals) != std::string::npos,
          "a refusal that does not name '" + reader.named_in_refusals + "': " + message);
  return Verdict::refused;
}

Verdict outcome(const Reader& reader, std::string_view bytes) {
  try {
    reader.read(bytes);
    return Verdict::accepted;
  } catch (const Finding&) {
    throw;
  } catch (const DataError& error) {
    return refusal(reader, error.what());
  } catch (const UsageError& error) {
    return refusal(reader, error.what());
  } catch (const NumericError& error) {  // weights that are not finite
    return refusal(reader, error.what());
  } catch (const Error& error) {
    throw Finding(std::string("an error that is not the input's: ") + error.what());
  } catch (const std::exception& error) {
    throw Finding(std::string("an exception that is not ours: ") + error.what());
  }
}

}  // namespace

void require(bool holds, const std::string& promise) {
  if (!holds) throw Finding(promise);
}

Verdict judge(const Reader& reader, std::string_view bytes, double seconds) {
  set_memory_limit({}, memory_limit);
  const double start = processor_seconds();
  const Verdict verdict = outcome(reader, bytes);
  const double taken = processor_seconds() - start;
  require(taken <= seconds, fmt::format("{:.1f} seconds for {} bytes", taken, bytes.size()));
  return verdict;
}

const std::vector<Reader>& readers() {
  static const std::vector<Reader> all = [] {
    std::vector<Reader> both = file_readers();
    for (Reader& reader : word_readers()) both.push_back(std::move(reader));
    return both;
  }();
  return all;
}

}  // namespace gradus::fuzz
