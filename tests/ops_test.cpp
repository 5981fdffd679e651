// Every op record through every generated suite, and the gate that no op escapes them.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "framework/ops/op_spec.h"
#include "framework/ops/registry.h"
#include "framework/testing/op_checks.h"

using namespace gradus;

TEST_CASE("every op passes its generated suites") {
  for (const OpSpec* spec : all_ops()) {
    const testing::RecordReport report = testing::check_record(*spec);
    INFO(report.text());
    CHECK_MESSAGE((report.verdict() == testing::Verdict::agree), spec->name);
  }
}

TEST_CASE("another seed of cotangents and directions") {
  testing::CheckOptions options;
  options.seed = 20261;
  options.cotangent_scale = 1e-6;
  for (const OpSpec* spec : all_ops()) {
    const testing::RecordReport report = testing::check_record(*spec, options);
    INFO(report.text());
    CHECK_MESSAGE((report.verdict() == testing::Verdict::agree), spec->name);
  }
}

TEST_CASE("coverage gate: every record declared in a header is registered, once") {
  std::set<std::string> registered;
  for (const OpSpec* spec : all_ops()) CHECK_MESSAGE(registered.insert(spec->name).second, spec->name, " is registered twice");
  std::size_t declared = 0;
  const std::regex declaration(R"(const OpSpec& (\w+)_op\(\);)");
  std::ifstream registry_file(std::string(GRADUS_SOURCE_DIR) + "/framework/ops/registry.cpp");
  std::stringstream registry;
  registry << registry_file.rdbuf();
  for (const auto& entry : std::filesystem::directory_iterator(std::string(GRADUS_SOURCE_DIR) + "/framework/ops")) {
    if (entry.path().extension() != ".h") continue;
    std::ifstream header(entry.path());
    for (std::string line; std::getline(header, line);) {
      std::smatch match;
      if (!std::regex_search(line, match, declaration)) continue;
      ++declared;
      CHECK_MESSAGE(registry.str().find("&" + match[1].str() + "_op()") != std::string::npos, match[1].str(), " is not in the registry");
    }
  }
  CHECK(declared == registered.size());
}

TEST_CASE("an op that is not there is refused by name") {
  try {
    find_op("layernorm");
    FAIL("no error");
  } catch (const UsageError& error) {
    CHECK(std::string(error.what()).find("no op 'layernorm'") != std::string::npos);
  }
}

TEST_CASE("a record without samples, or with a wrong kernel, fails the suites") {
  OpSpec broken = find_op("tanh");
  SUBCASE("no samples") { broken.samples = nullptr; }
  SUBCASE("no edge samples") { broken.edge_samples = nullptr; }
  SUBCASE("wrong forward") {
    const auto right = broken.cpu.forward;
    broken.cpu.forward = [right](ForwardCall& call) {
      right(call);
      if (call.output(0).dtype() == DType::f64 && call.output(0).numel() > 1) call.output(0).fresh_data<double>()[1] += 1e-9;
    };
  }
  SUBCASE("writes out of bounds") {
    const auto right = broken.cpu.forward;
    broken.cpu.forward = [right](ForwardCall& call) {
      right(call);
      if (call.output(0).dtype() == DType::f64) call.output(0).fresh_data<double>()[call.output(0).numel()] = 0;
    };
  }
  SUBCASE("leaves an element unwritten") {
    const auto right = broken.cpu.forward;
    broken.cpu.forward = [right](ForwardCall& call) {
      right(call);
      const Tensor fresh = Tensor::empty(call.output(0).shape(), call.output(0).dtype());
      call.set_output(0, fresh);
    };
  }
  SUBCASE("modifies its input") {
    const auto right = broken.cpu.forward;
    broken.cpu.forward = [right](ForwardCall& call) {
      right(call);
      if (call.input(0).dtype() == DType::f64 && call.input(0).numel() > 0) call.input(0).fresh_data<double>()[0] += 1;
    };
  }
  SUBCASE("another error text") {
    broken.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> { return {{"integers", {make.integers({2}, 0, 3)}, {}, "no such words"}}; };
  }
  CHECK_FALSE(testing::check_record(broken).passed());
}
