#include <fmt/ranges.h>

#include <algorithm>
#include <exception>
#include <iostream>
#include <map>
#include <regex>
#include <set>

#include "framework/base/error.h"
#include "framework/base/printable.h"
#include "framework/io/files.h"
#include "framework/testing/foreign_sweep.h"
#include "tools/gradcheck.h"
#include "tools/gradcheck_inputs.h"
#include "tools/gradcheck_point.h"
#include "tools/gradcheck_reference.h"

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
  if (!request.like.empty()) line += " --like " + quoted(request.like);
  if (request.offset >= 0) line += fmt::format(" --offset {}", request.offset);
  if (request.threads != 1) line += fmt::format(" --threads {}", request.threads);
  if (request.sandbox) line += " --sandbox";
  if (request.timeout != GradcheckRequest().timeout) line += fmt::format(" --timeout {:g}", request.timeout);
  return line;
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

testing::Outcome outcome_of(ForeignFailureKind kind) {
  using Kind = ForeignFailureKind;
  switch (kind) {
    case Kind::crash:
    case Kind::timeout:
    case Kind::forbidden: return testing::Outcome::crash;
    case Kind::out_of_bounds:
    case Kind::unwritten:
    case Kind::input_modified: return testing::Outcome::disagree;
    case Kind::refused:
    case Kind::bad_description: return testing::Outcome::error;
    case Kind::nothing_to_check: return testing::Outcome::agree;
  }
  return testing::Outcome::error;
}

GradcheckFailure describe(const ForeignFailure& failure, const GradcheckRequest& request, const std::string& op,
                          const std::string& call, const std::string& rerun) {
  return {.shared_library = request.shared_library,
          .op = op,
          .call = call,
          .kind = std::string(to_string(failure.kind)),
          .sentence = failure.what(),
          .rerun = rerun,
          .outcome = outcome_of(failure.kind)};
}

/// What asks for exactly this point.
GradcheckRequest request_of(const ForeignPoint& point, const ForeignOp& op, const GradcheckRequest& request) {
  GradcheckRequest own = request;
  own.seed = point.seed;
  own.offset = point.offset;
  own.threads = point.threads;
  std::erase_if(own.attributes, [&](const std::string& text) {  // what is left is the reference's
    return op.attributes().contains(parse_attribute(text).first);
  });
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

/// One op of the library, as the request has it checked.
class OpChecker {
 public:
  OpChecker(const ForeignLibrary& library, const std::string& name, const GradcheckRequest& request,
            GradcheckSession& session, const Reference* reference)
      : library_(library), name_(name), request_(request), session_(session), reference_(reference) {}

  void run() {
    session_.watch().begin(name_);
    if (session_.watch().is_over()) return session_.add_unchecked(name_, "");
    try {
      if (request_.repeat > 0) sweep();
      else if (request_.points > 0) check_points();
      else check_point();
    } catch (const OutOfTime&) {
      session_.add_unchecked(name_, "");
    } catch (const ForeignFailure& failure) {
      add(failure, rerun_line(request_, name_));
    } catch (const NotComparable& error) {
      session_.add({.shared_library = request_.shared_library,
                    .op = name_,
                    .call = call_,
                    .kind = "not comparable",
                    .sentence = error.what(),
                    .rerun = rerun_line(request_, name_)});
    }
  }

 private:
  ForeignOp new_op() {
    std::vector<std::string> own = request_.attributes;
    if (reference_) own = attributes_of(library_.op(name_), *reference_, own);
    ForeignOp op = library_.op(name_, attribute_numbers(own));
    op.set_offset(request_.offset);
    op.set_threads(static_cast<int>(request_.threads));
    op.require_gradient();
    call_ = call_of(op);
    return op;
  }

  void add(const ForeignFailure& failure, const std::string& rerun) {
    const bool chosen = !request_.inputs.empty() || !request_.attributes.empty(), named = !request_.op.empty();
    const bool single = library_.names().size() == 1;
    if (failure.kind == ForeignFailureKind::refused && chosen && !reference_) throw UsageError(failure.what());
    if (failure.kind == ForeignFailureKind::nothing_to_check && (named || single)) throw UsageError(failure.what());
    session_.add(describe(failure, request_, name_, call_, rerun));
  }

  /// The forward beside the reference's, where there is one, then the gradient.
  CheckReport check_at(const ForeignOp& op, const Tensors& inputs, testing::CheckOptions options) {
    options.watch = [this] { session_.watch().tick(); };
    std::optional<testing::ForwardComparison> forward;
    if (reference_) forward = reference_->compare(op, inputs, options.seed);
    CheckReport report = check(op, inputs, options);
    if (forward) add_comparison(report, reference_->name(), *forward);
    return report;
  }

  void check_point() {
    ForeignOp op = new_op();
    const Tensors inputs = requested_inputs(op, request_);
    call_ = call_of(op);
    testing::CheckOptions options = request_.check_options();
    options.keep_point = !request_.dump.empty();
    CheckReport report;
    try {
      report = check_at(op, inputs, options);
    } catch (const Error& error) {
      if (options.keep_point) write_point(request_.dump, op.subject(), inputs, error.what());
      throw;
    }
    report.rerun = rerun_line(request_, name_) + " --explain" + request_.mode_flag();
    if (options.keep_point) write_point(request_.dump, report);
    session_.add(report, request_.shared_library);
    const bool chosen = !request_.inputs.empty() || !request_.attributes.empty();
    if (!chosen && report.verdict != testing::Verdict::disagree) look_further(op, report.seconds);
  }

  /// At the sizes that are declared or asked for, on the numbers of one seed after the other.
  void check_points() {
    testing::SweepReport points{.op = name_};
    GradcheckRequest own = request_;
    try {
      for (; points.draws < request_.points; ++own.seed) {
        session_.watch().begin(fmt::format("{}, point {} of {}", name_, points.draws + 1, request_.points));
        ForeignOp op = new_op();
        const Tensors inputs = requested_inputs(op, own);
        call_ = call_of(op);
        CheckReport report = check_at(op, inputs, own.check_options());
        report.rerun = rerun_line(own, name_) + " --explain" + request_.mode_flag();
        ++points.draws;
        points.count(std::move(report));
      }
    } catch (const ForeignFailure& failure) {
      session_.add(points, "points", request_.shared_library);
      return add(failure, rerun_line(own, name_));
    } catch (const OutOfTime&) {
      session_.add(points, "points", request_.shared_library);
      return session_.add_unchecked(name_, fmt::format("points {} to {}", points.draws + 1, request_.points));
    }
    session_.add(points, "points", request_.shared_library);
  }

  testing::CheckOptions watched_options() {
    testing::CheckOptions options = request_.check_options();
    options.watch = [this] { session_.watch().tick(); };
    return options;
  }

  void add_failure(const ForeignFinding& finding, ForeignOp op) {
    const std::string rerun = rerun_line(request_of(finding.point, op, request_), name_);
    set_point(op, finding.point);
    session_.add(describe(*finding.failure, request_, name_, call_of(op), rerun));
  }

  /// A finding's report, with the forward beside the reference's where that takes the point.
  CheckReport compared(ForeignFinding& finding, const ForeignOp& op) {
    CheckReport report = report_of(finding, op, request_);
    if (!reference_) return report;
    ForeignOp at = op.twin();
    set_point(at, finding.point);
    try {
      const Tensors inputs = at.draw_inputs(finding.point.seed);
      add_comparison(report, reference_->name(), reference_->compare(at, inputs, finding.point.seed));
    } catch (const NotComparable& error) {
      if (finding.point.shape_words.empty()) throw;
      report.contracts.push_back(
          {.name = "same forward as " + reference_->name(), .finding = error.what(), .skipped = true});
    }
    return report;
  }

  /// Draw after draw, each at another point that the op takes.
  void sweep() {
    constexpr double search = 25;  ///< seconds for the next point
    const ForeignOp op = new_op();
    std::set<std::string> fixed;
    for (const std::string& attribute : request_.attributes) fixed.insert(parse_attribute(attribute).first);
    testing::SweepReport report{.op = name_};
    testing::ForeignSweep sweep(op, watched_options(), fixed, true);
    std::optional<ForeignFinding> finding;
    bool in_time = true;
    std::exception_ptr broken_off;
    try {
      while (report.draws < request_.repeat) {
        session_.watch().begin(fmt::format("{}, draw {} of {}", name_, report.draws + 1, request_.repeat));
        finding = report.draws == 0 ? sweep.declared() : sweep.next(search);
        if (!finding || finding->failure) break;
        CheckReport next = compared(*finding, op);
        ++report.draws;
        report.sizes_kept += finding->point.shape_words.empty();
        report.count(std::move(next));
      }
    } catch (const OutOfTime&) {
      in_time = false;
    } catch (const Error&) {
      broken_off = std::current_exception();  // after what was found so far
    }
    report.not_varied = sweep.not_varied();
    if (report.draws > 0) session_.add(report);
    if (broken_off) std::rethrow_exception(broken_off);
    if (!in_time)
      return session_.add_unchecked(name_, fmt::format("draws {} to {}", report.draws + 1, request_.repeat));
    if (finding && finding->failure) add_failure(*finding, op);
  }

  /// What the declared point cannot show, by a few others.
  void look_further(const ForeignOp& op, double seconds) {
    session_.watch().begin(name_ + ", further points");
    testing::FurtherPoints further;
    try {
      further = check_further_points(op, watched_options(), std::max(2.0, 3 * seconds));
    } catch (const OutOfTime&) {
      return session_.add_unchecked(name_, "further points");
    }
    if (further.wrong && further.wrong->failure) return add_failure(*further.wrong, op);
    if (further.wrong) return session_.add(compared(*further.wrong, op), request_.shared_library);
    if (!request_.output.explain) return;
    session_.watch().hide();
    std::cout << fmt::format("  further points: {} agree", further.agree);
    for (const ForeignPoint& point : further.undecided) std::cout << "; cannot tell: " << words_of(point, op);
    if (!further.not_varied.empty())
      std::cout << fmt::format("; not varied: {}", fmt::join(further.not_varied, ", "));
    std::cout << std::endl;
  }

  /// Those of the request that the op has; each has to be an attribute of it or of the reference.
  static std::vector<std::string> attributes_of(const ForeignOp& op, const Reference& reference,
                                                const std::vector<std::string>& requested) {
    std::vector<std::string> own;
    for (const std::string& text : requested) {
      const std::string name = parse_attribute(text).first;
      if (op.attributes().contains(name)) own.push_back(text);
      else if (!reference.has_attribute(name))
        fail<UsageError>("neither {} nor {} has an attribute '{}'", op.name(), reference.name(), name);
    }
    return own;
  }

  const ForeignLibrary& library_;
  const std::string& name_;
  const GradcheckRequest& request_;
  GradcheckSession& session_;
  const Reference* reference_;
  std::string call_;
};

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
  const auto say = [&](const std::string& name) {
    const ForeignOp op = library.op(name);
    std::cout << fmt::format("{:30} {}\n{:30} {}", name, op.summary(), "", call_of(op));
    for (const auto& [attribute, value] : op.attributes()) std::cout << fmt::format("  {}={:g}", attribute, value);
    std::cout << "\n";
  };
  for (const std::string& name : library.names()) {
    try {
      say(name);
    } catch (const ForeignFailure& failure) {
      std::cout << fmt::format("{:30} {}\n", name, printable(failure.what()));
    }
  }
}

void check_library(const GradcheckRequest& request, GradcheckSession& session) {
  std::unique_ptr<Reference> reference;
  if (!request.like.empty()) reference = make_reference(request);
  try {
    const ForeignLibrary library(request.shared_library, request.timeout, request.sandbox);
    const std::vector<std::string> names = request.op.empty() ? library.names() : std::vector{request.op};
    const bool for_one = !request.inputs.empty() || !request.attributes.empty() || reference || !request.dump.empty();
    if (names.size() > 1 && for_one) {
      fail<UsageError>("--input, --attr, --like and --dump are for one op: name it with --op; {} has {}",
                       request.shared_library, fmt::join(names, ", "));
    }
    for (const std::string& name : names) OpChecker(library, name, request, session, reference.get()).run();
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
