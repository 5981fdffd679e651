// The floors of the house: a file includes only its own floor and those below (docs/architecture.md).
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace {

/// What each floor may include besides itself.
const std::map<std::string, std::set<std::string>>& allowed() {
  static const std::map<std::string, std::set<std::string>> floors = [] {
    std::map<std::string, std::set<std::string>> f;
    f["framework/base"] = {};
    f["framework/random"] = {"framework/base"};
    f["framework/tensor"] = {"framework/base", "framework/random"};
    const auto on_top_of = [&](const std::string& floor, const std::string& below) {
      f[floor] = f.at(below);
      f[floor].insert(below);
    };
    on_top_of("framework/kernels", "framework/tensor");
    on_top_of("framework/autograd", "framework/kernels");
    on_top_of("framework/ops", "framework/autograd");
    for (const char* floor : {"framework/nn", "framework/io"}) on_top_of(floor, "framework/ops");
    on_top_of("framework/optim", "framework/nn");
    on_top_of("framework/data", "framework/io");
    on_top_of("framework/train", "framework/optim");
    for (const char* floor : {"framework/io", "framework/data"}) f["framework/train"].insert(floor);
    on_top_of("framework/testing", "framework/ops");
    f["framework/testing"].insert("framework/nn");
    f["models"] = {};
    for (const auto& [floor, below] : f) {
      if (floor.starts_with("framework")) f["models"].insert(floor);
    }
    f["framework/gradus.h"] = f.at("models");  // for programs that use Gradus: no floor includes it
    on_top_of("tasks", "models");
    on_top_of("tools", "tasks");
    return f;
  }();
  return floors;
}

std::string floor_of(const std::string& path) {
  const auto second = path.find('/', path.find('/') + 1);
  return path.starts_with("framework/") ? path.substr(0, second) : path.substr(0, path.find('/'));
}

/// Breaches in one file's text.
std::vector<std::string> breaches(const std::string& path, const std::string& text) {
  static const std::regex include(R"re(#include "((framework|models|tasks|tools|tests)/[^"]+)")re");
  std::vector<std::string> found;
  const std::string floor = floor_of(path);
  for (std::sregex_iterator match(text.begin(), text.end(), include), end; match != end; ++match) {
    const std::string other = floor_of((*match)[1]);
    if (other != floor && !allowed().at(floor).count(other)) found.push_back(path + " includes " + (*match)[1].str());
  }
  static const std::regex cuda_include(R"re(#include [<"](cu(da|blas|dnn|rand|sparse)[^>"/]*)[>"])re");
  std::smatch header;
  if (!path.starts_with("framework/kernels/cuda/") && std::regex_search(text, header, cuda_include)) {
    found.push_back(path + " includes CUDA's " + header[1].str());
  }
  return found;
}

bool is_source(const std::filesystem::path& path) {
  return path.extension() == ".h" || path.extension() == ".cpp" || path.extension() == ".cu";
}

}  // namespace

TEST_CASE("no file includes a higher floor") {
  const std::filesystem::path root = GRADUS_SOURCE_DIR;
  int files = 0;
  for (const char* top : {"framework", "models", "tasks", "tools"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / top)) {
      if (!is_source(entry.path())) continue;
      const std::string path = std::filesystem::relative(entry.path(), root);
      REQUIRE_MESSAGE(allowed().count(floor_of(path)), path, " is on no known floor");
      std::ifstream file(entry.path());
      std::stringstream text;
      text << file.rdbuf();
      for (const std::string& breach : breaches(path, text.str())) FAIL_CHECK(breach);
      ++files;
    }
  }
  CHECK(files > 80);
}

TEST_CASE("a planted breach is found") {
  CHECK(breaches("framework/tensor/tensor.h", "#include \"framework/ops/ops.h\"\n").size() == 1);
  CHECK(breaches("framework/ops/unary.cpp", "#include \"models/gpt/gpt.h\"\n").size() == 1);
  CHECK(breaches("models/gpt/gpt.cpp", "#include \"tasks/birthplace/names.h\"\n").size() == 1);
  CHECK(breaches("framework/tensor/device.cpp", "#include <cuda_runtime_api.h>\n").size() == 1);
  CHECK(breaches("framework/kernels/cuda/runtime.cpp", "#include <cuda_runtime_api.h>\n").empty());
  CHECK(breaches("tasks/birthplace/names.cpp", "#include \"framework/io/files.h\"\n").empty());
}
