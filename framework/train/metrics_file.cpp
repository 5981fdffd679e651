#include "framework/train/metrics_file.h"

#include <cerrno>
#include <cstring>
#include <sstream>

#include "framework/base/error.h"
#include "framework/io/destination.h"
#include "framework/io/files.h"
#include "framework/io/json.h"

namespace gradus::train {
namespace {

/// The step that a line is of; the largest number where it is no line of metrics.
std::int64_t step_of(const std::string& line) {
  try {
    return io::parse_json(line, "a line of metrics").at("step").get<std::int64_t>();
  } catch (const DataError&) {
  } catch (const nlohmann::json::exception&) {
  }
  return INT64_MAX;
}

}  // namespace

std::string metrics_before(const std::string& text, std::int64_t resumed_step) {
  std::string kept;
  std::istringstream before(text);
  for (std::string line; std::getline(before, line);) {
    if (step_of(line) <= resumed_step) kept += line + "\n";
  }
  return kept;
}

MetricsFile::MetricsFile(const std::string& path, std::int64_t resumed_step) : path_(path) {
  if (path.empty()) return;
  const bool goes_on = resumed_step > 0 && io::is_there(path);
  io::write_file_atomically(path, goes_on ? metrics_before(io::read_file(path), resumed_step) : "");
  do {
    file_.clear();
    file_.open(path, std::ios::app);
  } while (!file_ && errno == EINTR);
  check();
}

void MetricsFile::write(const nlohmann::ordered_json& line) {
  if (path_.empty()) return;
  file_ << line.dump() << std::endl;
  check();
}

void MetricsFile::check() const {
  if (!file_) fail<OutputError>("{}: cannot be written: {}", path_, std::strerror(errno));
}

}  // namespace gradus::train
