#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <regex>

#include "framework/base/error.h"
#include "framework/base/printable.h"
#include "framework/io/files.h"
#include "framework/testing/foreign_op.h"
#include "tools/gradcheck.h"
#include "tools/gradcheck_inputs.h"
#include "tools/gradcheck_point.h"
#include "tools/gradcheck_reference.h"

namespace gradus::tools {

using testing::CheckReport;
using testing::ForeignFailure;
using testing::ForeignFailureKind;
using testing::ForeignInput;
using testing::ForeignLibrary;
using testing::ForeignOp;

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
    op.require_gradient();
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
    try {
      CheckReport report = check_at(op, inputs, options);
      report.rerun = rerun_line(request_, name_) + " --explain" + request_.mode_flag();
      if (options.keep_point) write_point(request_.dump, report);
      session_.add(report, request_.shared_library);
    } catch (const Error& error) {
      if (options.keep_point) write_point(request_.dump, op.subject(), inputs, error.what());
      throw;
    }
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

  /// With values of other seeds, and with sizes of their own where the op takes them.
  void sweep() {
    testing::SweepReport sweep{.op = name_};
    GradcheckRequest own = request_;
    try {
      for (; sweep.draws < request_.repeat; ++own.seed) {
        session_.watch().begin(fmt::format("{}, draw {} of {}", name_, sweep.draws + 1, request_.repeat));
        const auto attempt = [&](bool varied) {
          ForeignOp op = new_op();
          std::string sizes;
          for (ForeignInput input : std::vector(op.inputs())) {
            if (varied) input.shape = varied_sizes(input.shape, own.seed);
            op.set_input(input);
            sizes += " --input " + quoted(fmt::format("{}={}[{}]", input.name, to_string(input.dtype),
                                                      fmt::join(input.shape.to_vector(), ",")));
          }
          CheckReport report = check_at(op, op.draw_inputs(own.seed), own.check_options());
          report.rerun = rerun_line(own, name_) + sizes + " --explain" + request_.mode_flag();
          return report;
        };
        CheckReport report;
        bool kept = false;
        try {
          report = attempt(true);
        } catch (const ForeignFailure& failure) {
          if (failure.kind != ForeignFailureKind::refused) throw;
          kept = true;
          report = attempt(false);
        } catch (const NotComparable&) {  // the reference does not take these sizes
          kept = true;
          report = attempt(false);
        }
        ++sweep.draws;
        sweep.sizes_kept += kept;
        sweep.count(std::move(report));
      }
    } catch (const OutOfTime&) {
      session_.add(sweep);
      return session_.add_unchecked(name_, fmt::format("draws {} to {}", sweep.draws + 1, request_.repeat));
    }
    session_.add(sweep);
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
