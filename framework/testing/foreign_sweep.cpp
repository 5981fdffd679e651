#include "framework/testing/foreign_sweep.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "framework/random/generator.h"
#include "framework/tensor/creation.h"
#include "framework/testing/numbers.h"

namespace gradus::testing {

namespace {

constexpr int further_points = 7;
constexpr double calls_of_a_check = 500;  ///< of forward, about

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Does it give the same for other values, everywhere? Then its gradient cannot be seen from here.
bool nothing_moves(const ForeignOp& op, std::uint64_t seed) {
  ForeignOp other = op.twin();
  const Subject subject = other.subject();
  const Tensors outputs = subject.forward(other.draw_inputs(seed));
  for (const std::uint64_t shift : {1, 2, 3}) {
    const Tensors moved = subject.forward(other.draw_inputs(seed + shift));
    if (!std::equal(outputs.begin(), outputs.end(), moved.begin(), moved.end(), same_bits)) return false;
  }
  return true;
}

bool nothing_moves_or_fails(const ForeignOp& op, std::uint64_t seed) {
  try {
    return nothing_moves(op, seed);
  } catch (const ForeignFailure&) {
    return false;  // whatever it is, a check will find it
  }
}

/// The gradients at the op's point of a sum of outputs with random weights.
Tensors gradients_of(const ForeignOp& op, std::uint64_t seed) {
  const Tensors inputs = op.draw_inputs(seed);
  const Subject subject = op.subject();
  Generator generator(seed, 7);
  Tensors cotangents;
  for (const Tensor& output : subject.forward(inputs)) {
    cotangents.push_back(is_floating(output.dtype()) ? random_normal(output.shape(), generator, output.dtype())
                                                     : Tensor());
  }
  return subject.backward(inputs, cotangents);
}

std::string shapes_at(const ForeignPoint& point) {
  std::string text;
  for (const ForeignInput& input : point.inputs)
    text += fmt::format("{}{}{}", text.empty() ? "" : " ", input.name, to_string(input.shape));
  return text;
}

}  // namespace

ForeignSweep::ForeignSweep(const ForeignOp& op, const CheckOptions& options, const std::set<std::string>& fixed)
    : worker_(op.twin()),
      options_(options),
      declared_{.inputs = op.inputs(), .attributes = op.declared_attributes(), .seed = options.seed},
      points_(op, options.seed, fixed, nothing_moves_or_fails(op, options.seed)) {
  for (ForeignAttribute& attribute : declared_.attributes) attribute.value = op.attributes().at(attribute.name);
}

ForeignFinding ForeignSweep::declared() {
  has_begun_ = true;
  return judge(declared_, true);
}

std::optional<ForeignFinding> ForeignSweep::next(double seconds, bool thorough) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    const double left = seconds - seconds_since(start);
    const std::optional<ForeignPoint> point = left > 0 ? points_.next(seconds / calls_of_a_check, left) : std::nullopt;
    if (!point) return {};
    if (!std::exchange(has_begun_, true)) {
      set_point(worker_, declared_);
      gradients_of(worker_, options_.seed);
    }
    ForeignFinding finding = judge(*point, thorough);
    // It is not made for these shapes; or what it refuses shows late.
    if (finding.failure && (point->odd_shapes || finding.failure->kind == ForeignFailureKind::refused)) continue;
    return finding;
  }
}

/// What a process that has seen other points finds.
ForeignFinding ForeignSweep::first_look(const ForeignPoint& point, bool thorough) {
  ForeignFinding finding{.point = point, .report = {}, .failure = {}};
  try {
    set_point(worker_, point);
    CheckOptions options = options_;
    options.seed = point.seed;
    options.hints = false;
    if (!thorough) options.every_element_up_to = 1, options.contracts = false;
    const Tensors inputs = worker_.draw_inputs(point.seed);
    finding.report = thorough ? check(worker_, inputs, options) : check(worker_.subject(), inputs, options);
  } catch (const ForeignFailure& failure) {
    worker_.restart();
    finding.failure = failure;
  }
  return finding;
}

/// The thorough check in a process that has seen nothing else.
ForeignFinding ForeignSweep::look_alone(const ForeignPoint& point) {
  ForeignFinding finding{.point = point, .report = {}, .failure = {}};
  ForeignOp alone = worker_.twin();
  CheckOptions options = options_;
  options.seed = point.seed;
  try {
    finding.report = check(alone, alone.draw_inputs(point.seed), options);
  } catch (const ForeignFailure& failure) {
    finding.failure = failure;
  }
  return finding;
}

/// Are the gradients at a point others after a call at another one?
std::optional<ForeignFinding> ForeignSweep::kept_from(const ForeignPoint& earlier, const ForeignPoint& point) {
  ForeignFinding finding{.point = point, .report = {}, .failure = {}};
  ForeignOp alone = worker_.twin(), later = worker_.twin();
  const Tensors expected = gradients_of(alone, point.seed);
  ForeignPoint before = earlier;
  before.threads = point.threads;  // another number would end the process
  try {
    set_point(later, before);
    gradients_of(later, before.seed);
    set_point(later, point);
    const Tensors found = gradients_of(later, point.seed);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (!expected[i].defined()) continue;
      const Numbers a = expected[i].to_vector<double>(), b = found[i].to_vector<double>();
      const double difference = largest_difference(a, b);
      if (!(difference > (expected[i].dtype() == DType::f64 ? 1e-6 : 1e-2) * largest_magnitude(a))) continue;
      CheckReport report;
      report.subject = worker_.name();
      report.call = shapes_at(point);
      report.seed = point.seed;
      report.verdict = Verdict::disagree;
      report.contracts.push_back(
          {.name = "nothing left over from other calls",
           .held = false,
           .finding =
               fmt::format("after a call at {}, the gradient of '{}' at {} is another one, by {:.2g}: something is "
                           "kept from call to call",
                           shapes_at(earlier), point.inputs[i].name, shapes_at(point), difference),
           .cause = Cause::stale_state});
      report.hint = Hint{Cause::stale_state, "", report.contracts.back().finding};
      finding.report = std::move(report);
      return finding;
    }
  } catch (const ForeignFailure& failure) {
    finding.failure = ForeignFailure(failure.kind, fmt::format("{} (at {}, after a call at {})", failure.what(),
                                                               shapes_at(point), shapes_at(earlier)));
    return finding;
  }
  return {};
}

ForeignFinding ForeignSweep::judge(const ForeignPoint& point, bool thorough) {
  ForeignFinding finding = first_look(point, thorough);
  if (finding.wrong()) {
    finding = look_alone(point);
    if (finding.wrong()) return finding;
    for (const ForeignPoint& earlier : {declared_, previous_.value_or(declared_)}) {
      if (std::optional<ForeignFinding> kept = kept_from(earlier, point)) return *kept;
    }
  }
  previous_ = point;
  return finding;
}

FurtherPoints check_further_points(const ForeignOp& op, const CheckOptions& options, double seconds) {
  const auto start = std::chrono::steady_clock::now();
  FurtherPoints result;
  ForeignSweep sweep(op, options, {});
  for (int tried = 0; tried < further_points && !result.wrong; ++tried) {
    const double left = seconds - seconds_since(start);
    std::optional<ForeignFinding> finding = left > 0 ? sweep.next(left, false) : std::nullopt;
    if (!finding) break;
    if (finding->wrong()) result.wrong = std::move(finding);
    else if (finding->report->passed()) ++result.agree;
    else result.undecided.push_back(finding->point);
  }
  result.not_varied = sweep.not_varied();
  return result;
}

}  // namespace gradus::testing
