#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <regex>
#include <set>

#include "framework/base/error.h"
#include "framework/io/files.h"
#include "framework/testing/foreign_sweep.h"
#include "tools/gradcheck.h"
#include "tools/gradcheck_inputs.h"

namespace gradus::tools {

using testing::CheckReport;
using testing::ForeignFailure;
using testing::ForeignFailureKind;
using testing::ForeignFinding;
using testing::ForeignInput;
using testing::ForeignLibrary;
using testing::ForeignOp;
using testing::ForeignPoint;

namespace {

std::string call_of(const ForeignOp& op) {
  std::string text;
  for (const ForeignInput& input : op.inputs())
    text +=
        fmt::format("{}{}{} {}", text.empty() ? "" : "  ", input.name, to_string(input.shape), to_string(input.dtype));
  return text;
}

std::string rerun_line(const GradcheckRequest& request, const std::string& op) {
  std::string line =
      fmt::format("gradus gradcheck --lib {} --op {} --seed {}", quoted(request.shared_library), op, request.seed);
  for (const std::string& attribute : request.attributes) line += " --attr " + quoted(attribute);
  for (const std::string& input : request.inputs) line += " --input " + quoted(input);
  if (request.offset >= 0) line += fmt::format(" --offset {}", request.offset);
  if (request.threads != 1) line += fmt::format(" --threads {}", request.threads);
  if (request.sandbox) line += " --sandbox";
  if (request.timeout != GradcheckRequest().timeout) line += fmt::format(" --timeout {:g}", request.timeout);
  return line;
}

std::map<std::string, double> numbers_of(const std::vector<std::string>& texts) {
  std::map<std::string, double> attributes;
  for (const std::string& text : texts) {
    const auto [name, value] = parse_attribute(text);
    const std::optional<double> number = number_of(value);
    if (!number) fail<UsageError>("--attr takes NAME=NUMBER, not '{}'", text);
    attributes[name] = *number;
  }
  return attributes;
}

/// The op's inputs, with what was asked for in their places.
Tensors requested_inputs(ForeignOp& op, const GradcheckRequest& request) {
  std::map<std::string, Tensor> given;
  for (const std::string& text : request.inputs) {
    const InputRequest wanted = parse_input(text);
    ForeignInput input{.name = wanted.name, .shape = wanted.shape, .dtype = wanted.dtype};
    for (const ForeignInput& own : op.inputs()) {
      if (own.name == wanted.name)
        input.low = own.low, input.high = own.high, input.normal = own.normal, input.kinks = own.kinks;
    }
    if (wanted.values == InputRequest::Values::uniform)
      input.low = wanted.low, input.high = wanted.high, input.normal = false;
    if (wanted.values == InputRequest::Values::whole)
      input.low = wanted.low, input.high = wanted.high, input.normal = false, input.whole = true;
    if (wanted.values == InputRequest::Values::normal) input.normal = true;
    if (wanted.values == InputRequest::Values::from_file) {
      given[wanted.name] = read_tensor(wanted);
      input.shape = given[wanted.name].shape();
      input.dtype = given[wanted.name].dtype();
    }
    op.set_input(input);
  }
  Tensors inputs = op.draw_inputs(request.seed);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (const auto found = given.find(op.inputs()[i].name); found != given.end()) inputs[i] = found->second;
  }
  return inputs;
}

GradcheckFailure describe(const ForeignFailure& failure, const GradcheckRequest& request, const std::string& op,
                          const std::string& call, const std::string& rerun) {
  return {.shared_library = request.shared_library,
          .op = op,
          .call = call,
          .kind = std::string(to_string(failure.kind)),
          .sentence = failure.what(),
          .rerun = rerun,
          .gone = failure.kind == ForeignFailureKind::crash || failure.kind == ForeignFailureKind::timeout ||
                  failure.kind == ForeignFailureKind::forbidden};
}

/// What asks for exactly this point.
GradcheckRequest request_of(const ForeignPoint& point, const ForeignOp& op, const GradcheckRequest& request) {
  GradcheckRequest own = request;
  own.seed = point.seed;
  own.offset = point.offset;
  own.threads = point.threads;
  own.attributes.clear();
  own.inputs.clear();
  for (const testing::ForeignAttribute& attribute : op.declared_attributes()) {
    for (const testing::ForeignAttribute& chosen : point.attributes) {
      if (chosen.name == attribute.name && chosen.value != attribute.value)
        own.attributes.push_back(fmt::format("{}={}", chosen.name, chosen.value));
    }
  }
  for (std::size_t i = 0; i < point.inputs.size(); ++i) {
    const ForeignInput& input = point.inputs[i];
    own.inputs.push_back(
        fmt::format("{}={}[{}]", input.name, to_string(input.dtype), fmt::join(input.shape.to_vector(), ",")));
    if (same_values(input, op.inputs()[i])) continue;
    own.inputs.back() +=
        input.normal ? ":normal" : fmt::format(":{}({},{})", input.whole ? "whole" : "uniform", input.low, input.high);
  }
  return own;
}

/// A finding's report, with the line that repeats it and what is unlike the declared point.
CheckReport report_of(ForeignFinding& finding, const ForeignOp& op, const GradcheckRequest& request) {
  CheckReport report = std::move(*finding.report);
  const GradcheckRequest own = request_of(finding.point, op, request);
  report.rerun = rerun_line(finding.in_company ? request : own, op.name());
  if (finding.in_company && request.repeat > 0) report.rerun += fmt::format(" --repeat {}", request.repeat);
  report.rerun += " --explain" + request.mode_flag();
  if (const std::string words = words_of(finding.point, op); !words.empty())
    report.note += (report.note.empty() ? "" : "; ") + ("beside the declared point: " + words);
  return report;
}

void add_failure(const ForeignFinding& finding, ForeignOp op, const GradcheckRequest& request,
                 GradcheckSession& session) {
  const std::string rerun = rerun_line(request_of(finding.point, op, request), op.name());
  set_point(op, finding.point);
  session.add(describe(*finding.failure, request, op.name(), call_of(op), rerun));
}

/// Draw after draw, each at another point that the op takes.
void sweep_op(const ForeignOp& op, const GradcheckRequest& request, GradcheckSession& session) {
  constexpr double search = 25;  ///< seconds for the next point
  std::set<std::string> fixed;
  for (const auto& [attribute, value] : numbers_of(request.attributes)) fixed.insert(attribute);
  testing::SweepReport report{.op = op.name()};
  testing::ForeignSweep sweep(op, request.check_options(), fixed, true);
  std::optional<ForeignFinding> finding;
  for (; report.draws < request.repeat; ++report.draws) {
    finding = report.draws == 0 ? sweep.declared() : sweep.next(search);
    if (!finding || finding->failure) break;
    report.sizes_kept += finding->point.shape_words.empty();
    report.agree += finding->report->verdict == testing::Verdict::agree;
    report.disagree += finding->report->verdict == testing::Verdict::disagree;
    report.cannot_tell += finding->report->verdict == testing::Verdict::cannot_tell;
    if (!finding->report->passed()) report.doubtful.push_back(report_of(*finding, op, request));
  }
  report.not_varied = sweep.not_varied();
  if (report.draws > 0) session.add(report);
  if (finding && finding->failure) add_failure(*finding, op, request, session);
}

/// What the declared point cannot show, by a few others.
void look_further(const ForeignOp& op, const GradcheckRequest& request, double seconds, GradcheckSession& session) {
  testing::FurtherPoints further = check_further_points(op, request.check_options(), std::max(2.0, 3 * seconds));
  if (further.wrong && further.wrong->failure) return add_failure(*further.wrong, op, request, session);
  if (further.wrong) return session.add(report_of(*further.wrong, op, request), request.shared_library);
  if (!request.output.explain) return;
  std::cout << fmt::format("  further points: {} agree", further.agree);
  for (const ForeignPoint& point : further.undecided) std::cout << "; cannot tell: " << words_of(point, op);
  if (!further.not_varied.empty()) std::cout << fmt::format("; not varied: {}", fmt::join(further.not_varied, ", "));
  std::cout << std::endl;
}

void check_one(const ForeignLibrary& library, const std::string& name, const GradcheckRequest& request,
               GradcheckSession& session) {
  ForeignOp op = library.op(name, numbers_of(request.attributes));
  op.set_offset(request.offset);
  op.set_threads(static_cast<int>(request.threads));
  const bool chosen = !request.inputs.empty() || !request.attributes.empty();
  try {
    if (request.repeat > 0) return sweep_op(op, request, session);
    CheckReport report = check(op, requested_inputs(op, request), request.check_options());
    report.rerun = rerun_line(request, name) + " --explain" + request.mode_flag();
    session.add(report, request.shared_library);
    if (!chosen && report.verdict != testing::Verdict::disagree) look_further(op, request, report.seconds, session);
  } catch (const ForeignFailure& failure) {
    if (failure.kind == ForeignFailureKind::refused && chosen) throw UsageError(failure.what());
    session.add(describe(failure, request, name, call_of(op), rerun_line(request, name)));
  }
}

}  // namespace

std::string quoted(const std::string& word) {
  const bool plain = std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) || std::string_view("_-./=,:+@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain && !word.empty()) return word;
  return "'" + std::regex_replace(word, std::regex("'"), "'\\''") + "'";
}

void list_library(const GradcheckRequest& request) {
  const ForeignLibrary library(request.shared_library, request.timeout, request.sandbox);
  for (const std::string& name : library.names()) {
    const ForeignOp op = library.op(name);
    std::cout << fmt::format("{:30} {}\n{:30} {}", name, op.summary(), "", call_of(op));
    for (const auto& [attribute, value] : op.attributes()) std::cout << fmt::format("  {}={:g}", attribute, value);
    std::cout << "\n";
  }
}

void check_library(const GradcheckRequest& request, GradcheckSession& session) {
  try {
    const ForeignLibrary library(request.shared_library, request.timeout, request.sandbox);
    if (request.op.empty() && library.names().size() > 1 && (!request.inputs.empty() || !request.attributes.empty())) {
      fail<UsageError>("--input and --attr are for one op: name it with --op; {} has {}", request.shared_library,
                       fmt::join(library.names(), ", "));
    }
    for (const std::string& name : request.op.empty() ? library.names() : std::vector{request.op})
      check_one(library, name, request, session);
  } catch (const ForeignFailure& failure) {  // before there is an op
    session.add(describe(failure, request, "", "", "gradus gradcheck --lib " + quoted(request.shared_library)));
  }
}

void write_op_template(const std::string& name) {
  const std::string source = testing::foreign_op_template(name), source_path = name + ".c";
  const std::string header = testing::foreign_op_header(), header_path = "gradus_op.h";
  if (io::is_there(source_path)) fail<UsageError>("{} exists already and is not overwritten", source_path);
  const bool has_header = io::is_there(header_path);
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
