#include "tools/gradcheck_library.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <regex>

#include "framework/base/error.h"
#include "framework/io/files.h"
#include "framework/testing/report_formats.h"
#include "tools/commands.h"
#include "tools/options.h"

namespace gradus::tools {

using testing::CheckReport;
using testing::ForeignFailure;
using testing::ForeignFailureKind;
using testing::ForeignInput;
using testing::ForeignLibrary;
using testing::ForeignOp;
using testing::Verdict;

namespace {

enum ExitCode { agrees = 0, disagrees = 1, cannot_tell = 5, crashed = 6 };

/// The most serious one.
int worse(int a, int b) {
  for (const int code : {crashed, disagrees, cannot_tell}) {
    if (a == code || b == code) return code;
  }
  return agrees;
}

std::optional<double> number_of(const std::string& text) {
  try {
    std::size_t used = 0;
    const double value = std::stod(text, &used);
    if (used == text.size() && std::isfinite(value)) return value;
  } catch (const std::exception&) {
  }
  return {};
}

std::map<std::string, double> parse_attributes(const std::vector<std::string>& texts) {
  std::map<std::string, double> attributes;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    const auto value = equals == std::string::npos ? std::nullopt : number_of(text.substr(equals + 1));
    if (!value || equals == 0) fail<UsageError>("--attr takes NAME=NUMBER, not '{}'", text);
    attributes[text.substr(0, equals)] = *value;
  }
  return attributes;
}

std::string call_of(const ForeignOp& op) {
  std::string text;
  for (const ForeignInput& input : op.inputs())
    text +=
        fmt::format("{}{}{} {}", text.empty() ? "" : "  ", input.name, to_string(input.shape), to_string(input.dtype));
  return text;
}

std::string quoted(const std::string& word) {
  const bool plain = std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) || std::string_view("_-./=,:+@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain && !word.empty()) return word;
  return "'" + std::regex_replace(word, std::regex("'"), "'\\''") + "'";
}

std::string rerun_line(const LibraryCheckOptions& options, const std::string& op) {
  std::string line =
      fmt::format("gradus gradcheck --lib {} --op {} --seed {}", quoted(options.library), op, options.seed);
  for (const std::string& attribute : options.attributes) line += " --attr " + quoted(attribute);
  for (const std::string& input : options.inputs) line += " --input " + quoted(input);
  if (options.timeout != LibraryCheckOptions().timeout) line += fmt::format(" --timeout {:g}", options.timeout);
  return line;
}

struct Finding {
  int code = agrees;
  std::string text;  ///< for people
  nlohmann::ordered_json json;
};

int exit_code_of(const ForeignFailure& failure) {
  const bool gone = failure.kind == ForeignFailureKind::crash || failure.kind == ForeignFailureKind::timeout;
  return gone ? crashed : disagrees;
}

Finding describe(const ForeignFailure& failure, const std::string& op, const std::string& call, std::uint64_t seed,
                 const std::string& rerun) {
  const std::string kind(to_string(failure.kind));
  std::string loud = kind;
  std::transform(loud.begin(), loud.end(), loud.begin(), [](unsigned char c) { return std::toupper(c); });
  return {
      exit_code_of(failure),
      fmt::format("{:44} {:60} {}\n  {}\n  rerun: {}\n", op, call, loud, failure.what(), rerun),
      {{"op", op}, {"call", call}, {"seed", seed}, {"verdict", kind}, {"finding", failure.what()}, {"rerun", rerun}}};
}

Finding check_one(const ForeignLibrary& library, const std::string& name, const LibraryCheckOptions& options) {
  const ForeignOp probe = library.op(name);
  std::map<std::string, double> attributes = parse_attributes(options.attributes);
  ForeignOp op = library.op(name, attributes);
  for (const std::string& text : options.inputs) op.set_input(parse_input(text, probe.inputs()));
  testing::CheckOptions check_options;
  check_options.seed = options.seed;
  check_options.explain = options.explain;
  try {
    CheckReport report = check(op, op.draw_inputs(options.seed), check_options);
    report.rerun = rerun_line(options, name) + " --explain";
    const int code = report.verdict == Verdict::agree      ? agrees
                     : report.verdict == Verdict::disagree ? disagrees
                                                           : cannot_tell;
    std::string text = to_text(report, options.explain);
    if (code == disagrees) text += editor_line(options.library, report) + "\n";
    return {code, text, to_json(report)};
  } catch (const ForeignFailure& failure) {
    const bool chosen = !options.inputs.empty() || !options.attributes.empty();
    if (failure.kind == ForeignFailureKind::refused && chosen) throw UsageError(failure.what());
    return describe(failure, name, call_of(op), options.seed, rerun_line(options, name));
  }
}

void list_ops(const ForeignLibrary& library) {
  for (const std::string& name : library.names()) {
    const ForeignOp op = library.op(name);
    std::cout << fmt::format("{:30} {}\n{:30} {}", name, op.summary(), "", call_of(op));
    for (const auto& [attribute, value] : op.attributes()) std::cout << fmt::format("  {}={:g}", attribute, value);
    std::cout << "\n";
  }
}

}  // namespace

ForeignInput parse_input(const std::string& text, const std::vector<ForeignInput>& known) {
  static const std::regex form(
      R"(([A-Za-z0-9_.-]+)=(f64|f32|i64)\[([0-9, ]*)\](:normal|:uniform\(([^,]+),([^,]+)\))?)");
  std::smatch match;
  if (!std::regex_match(text, match, form)) {
    fail<UsageError>(
        "--input takes NAME=DTYPE[SIZES], then perhaps :normal or :uniform(LOW,HIGH), as in x=f64[2,3]:uniform(-1,1), "
        "not '{}'",
        text);
  }
  ForeignInput input;
  for (const ForeignInput& own : known) {
    if (own.name == match[1].str()) input = own;
  }
  input.name = match[1];
  input.dtype = dtype_from_string(match[2].str());
  std::vector<std::int64_t> sizes;
  const std::string list = match[3];
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    const auto size = number_of(list.substr(at, end - at));
    if (!size || *size > 1e8) fail<UsageError>("--input {}: '{}' is no list of sizes", text, list);
    sizes.push_back(static_cast<std::int64_t>(*size));
    at = end + 1;
  }
  if (sizes.size() > max_rank)
    fail<UsageError>("--input {}: {} axes, at most {} are possible", text, sizes.size(), max_rank);
  input.shape = Shape(sizes);
  double elements = 1;
  for (const std::int64_t size : sizes) elements *= static_cast<double>(size);
  if (elements > 1e8) fail<UsageError>("--input {}: {:.3g} elements are too many to check", text, elements);
  if (match[5].matched) {
    const auto low = number_of(match[5]), high = number_of(match[6]);
    if (!low || !high) fail<UsageError>("--input {}: uniform takes two numbers", text);
    input.low = *low;
    input.high = *high;
  }
  if (match[4].matched) input.normal = !match[5].matched;
  return input;
}

void check_library(const LibraryCheckOptions& options) {
  prepare_json(options.json);
  const auto start = std::chrono::steady_clock::now();
  std::vector<Finding> findings;
  try {
    const ForeignLibrary library(options.library, options.timeout);
    if (options.list) return list_ops(library);
    for (const std::string& name : options.op.empty() ? library.names() : std::vector{options.op}) {
      findings.push_back(check_one(library, name, options));
      std::cout << findings.back().text << std::flush;
    }
  } catch (const ForeignFailure& failure) {  // before there is an op
    const std::string rerun = "gradus gradcheck --lib " + quoted(options.library);
    findings.push_back(describe(failure, options.library, "", options.seed, rerun));
    std::cout << findings.back().text << std::flush;
  }
  int code = agrees;
  for (const Finding& finding : findings) code = worse(code, finding.code);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  nlohmann::ordered_json json = testing::json_report(code == agrees        ? Verdict::agree
                                                     : code == cannot_tell ? Verdict::cannot_tell
                                                                           : Verdict::disagree,
                                                     seconds.count());
  json["library"] = options.library;
  json["ops"] = nlohmann::ordered_json::array();
  for (Finding& finding : findings) json["ops"].push_back(std::move(finding.json));
  write_json(options.json, json);
  if (code != agrees) throw ExitWith{code};
}

void write_op_template(const std::string& name) {
  const std::string source = testing::foreign_op_template(name), source_path = name + ".c";
  const std::string header = testing::foreign_op_header(), header_path = "gradus_op.h";
  if (std::filesystem::exists(source_path)) fail<UsageError>("{} exists already and is not overwritten", source_path);
  const bool has_header = std::filesystem::exists(header_path);
  if (has_header && io::read_file(header_path) != header) {
    fail<UsageError>("{} exists already and is not the one that belongs to this program; it is not overwritten",
                     header_path);
  }
  if (!has_header) io::write_file_atomically(header_path, header);
  io::write_file_atomically(source_path, source);
  std::cout << fmt::format(
      "{0}.c and gradus_op.h are written. Now:\n\n"
      "  cc -shared -fPIC -O2 -o {0}.so {0}.c -lm\n"
      "  gradus gradcheck --lib ./{0}.so\n",
      name);
}

}  // namespace gradus::tools
