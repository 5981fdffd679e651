// A folder of its own for a test that writes files, gone when the test is.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

struct TemporaryFolder {
  TemporaryFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "gradus_test_XXXXXX";
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("no temporary folder can be made: " + pattern);
    path = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return path / name; }
  /// Its path.
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream file(path / name, std::ios::binary);
    if (!(file << text << std::flush)) throw std::runtime_error(name + " cannot be written");
    return path / name;
  }
  /// Names of everything inside, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(path)) all.push_back(entry.path().filename());
    std::sort(all.begin(), all.end());
    return all;
  }

  std::filesystem::path path;
};
