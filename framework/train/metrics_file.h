// metrics.jsonl: a line of JSON for each step.
#pragma once

#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace gradus::train {

/// The lines of `text` that a run which goes on after `resumed_step` keeps: not those of steps that will be run again,
/// and with them none that was torn by a crash.
std::string metrics_before(const std::string& text, std::int64_t resumed_step);

/// Throws OutputError naming the path where a line cannot be written.
class MetricsFile {
 public:
  /// Begins a new file, or goes on with the one of a run that is resumed. No file for an empty path.
  MetricsFile(const std::string& path, std::int64_t resumed_step);
  void write(const nlohmann::ordered_json& line);

 private:
  void check() const;
  std::string path_;
  std::ofstream file_;
};

}  // namespace gradus::train
