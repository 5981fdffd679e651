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
constexpr double calls_of_a_check = 1500;  ///< of forward, about

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

/// Does every output have one slope at this element, on both sides and for two steps? A corner has two, a jump none.
bool is_smooth_at(const Subject& subject, const Tensors& inputs, std::size_t input, std::int64_t element) {
  constexpr double step = 1e-5;
  const auto outputs_at = [&](double shift) {
    Tensors moved = inputs;
    Numbers values = inputs[input].to_vector<double>();
    values[static_cast<std::size_t>(element)] += shift;
    moved[input] = from_values(inputs[input].shape(), values, inputs[input].dtype());
    return subject.forward(moved);
  };
  const Tensors here = outputs_at(0), above = outputs_at(step), below = outputs_at(-step),
                nearer = outputs_at(step / 2);
  for (std::size_t k = 0; k < here.size(); ++k) {
    if (!is_floating(here[k].dtype())) continue;
    const Numbers at = here[k].to_vector<double>(), up = above[k].to_vector<double>();
    const Numbers down = below[k].to_vector<double>(), half = nearer[k].to_vector<double>();
    double largest = 0, bend = 0;
    for (std::size_t e = 0; e < at.size(); ++e) {
      largest = std::max(largest, std::fabs(up[e] - down[e]));
      const double own = std::fabs(up[e] - 2 * at[e] + down[e]) + std::fabs(up[e] - 2 * half[e] + at[e]);
      if (!std::isfinite(own)) return false;
      bend = std::max(bend, own);
    }
    if (bend > 1e-3 * largest) return false;
  }
  return true;
}

/// Of a report about f64 inputs: is an element wrong where the function is smooth, as far as it can be called there?
bool accuses_where_smooth(const ForeignOp& op, const ForeignPoint& point, const CheckReport& report) try {
  ForeignOp alone = op.twin();
  set_point(alone, point);
  const Tensors inputs = alone.draw_inputs(point.seed);
  for (const InputReport& input : report.inputs) {
    if (input.verdict != Verdict::disagree || input.spec.dtype != DType::f64) continue;
    const auto named = [&](const ForeignInput& own) { return own.name == input.name; };
    const auto index = std::find_if(point.inputs.begin(), point.inputs.end(), named) - point.inputs.begin();
    for (const ElementVerdict& element : input.elements) {
      if (element.verdict == Verdict::disagree &&
          is_smooth_at(alone.subject(), inputs, static_cast<std::size_t>(index), element.element))
        return true;
    }
  }
  return false;
} catch (const ForeignFailure&) {
  return false;
}

std::string shapes_at(const ForeignPoint& point) {
  std::string text;
  for (const ForeignInput& input : point.inputs)
    text += fmt::format("{}{}{}", text.empty() ? "" : " ", input.name, to_string(input.shape));
  return text;
}

}  // namespace

ForeignSweep::ForeignSweep(const ForeignOp& op, const CheckOptions& options, const std::set<std::string>& fixed,
                           bool thorough)
    : op_(op.twin()),
      worker_(op.twin()),
      options_(options),
      declared_{.inputs = op.inputs(), .attributes = op.declared_attributes(), .seed = options.seed},
      points_(op, options.seed, fixed, nothing_moves_or_fails(op, options.seed), thorough),
      thorough_(thorough) {
  for (ForeignAttribute& attribute : declared_.attributes) attribute.value = op.attributes().at(attribute.name);
}

ForeignFinding ForeignSweep::declared() { return judge(declared_); }

std::optional<ForeignFinding> ForeignSweep::next(double seconds) {
  const auto start = std::chrono::steady_clock::now();
  const double call = seconds / calls_of_a_check / (thorough_ ? 1 : 2);
  for (;;) {
    const double left = seconds - seconds_since(start);
    const std::optional<ForeignPoint> point = left > 0 ? points_.next(call, left) : std::nullopt;
    if (!point) return {};
    ForeignFinding finding = judge(*point);
    // It is not made for these shapes; or what it refuses shows late.
    const bool is_odd = odd(shapes_of(point->inputs), shapes_of(declared_.inputs));
    if (finding.failure && (is_odd || finding.failure->kind == ForeignFailureKind::refused)) continue;
    if (is_whole(*point) && finding.report && !finding.report->passed() && !stands_at_corners(finding)) continue;
    return finding;
  }
}

/// At whole numbers there may be corners, where only an element that has one slope can be told wrong.
bool ForeignSweep::stands_at_corners(const ForeignFinding& finding) const {
  if (finding.failure || finding.in_company || !is_whole(finding.point)) return true;
  return finding.wrong() && accuses_where_smooth(op_, finding.point, *finding.report);
}

/// Elsewhere an algorithm may be worse conditioned than its author thought of: what is off by little is no accusation.
CheckOptions ForeignSweep::options_at(const ForeignPoint& point) const {
  constexpr double smallest_error = 1e-8;
  CheckOptions options = options_;
  options.seed = point.seed;
  if (!words_of(point, op_).empty()) options.smallest_error = smallest_error;
  return options;
}

/// What a process that has seen other points finds.
ForeignFinding ForeignSweep::first_look(const ForeignPoint& point) {
  ForeignFinding finding{.point = point, .report = {}, .failure = {}};
  try {
    set_point(worker_, point);
    if (worker_.process() == 0) {  // new, or ended by another number of threads: it starts where all begin
      ForeignPoint begin = declared_;
      begin.threads = point.threads;
      set_point(worker_, begin);
      gradients_of(worker_, options_.seed);
      set_point(worker_, point);
    }
    CheckOptions options = options_at(point);
    options.hints = false;
    if (!thorough_) options.every_element_up_to = 1, options.directions = 2, options.contracts = false;
    const Tensors inputs = worker_.draw_inputs(point.seed);
    finding.report = thorough_ ? check(worker_, inputs, options) : check(subject_at(worker_, inputs), inputs, options);
  } catch (const ForeignFailure& failure) {
    worker_.restart();
    finding.failure = failure;
  }
  return finding;
}

/// The thorough check in a process that has seen nothing else.
ForeignFinding ForeignSweep::look_alone(const ForeignPoint& point, bool with_hints) {
  ForeignFinding finding{.point = point, .report = {}, .failure = {}};
  ForeignOp alone = op_.twin();
  set_point(alone, point);
  CheckOptions options = options_at(point);
  options.hints = options.hints && with_hints;
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
  ForeignOp alone = op_.twin(), later = op_.twin();
  set_point(alone, point);
  Tensors expected;
  try {
    expected = gradients_of(alone, point.seed);
  } catch (const ForeignFailure&) {
    return {};
  }
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
      finding.in_company = true;
      return finding;
    }
  } catch (const ForeignFailure& failure) {
    finding.failure = ForeignFailure(failure.kind, fmt::format("{} (at {}, after a call at {})", failure.what(),
                                                               shapes_at(point), shapes_at(earlier)));
    finding.in_company = true;
    return finding;
  }
  return {};
}

/// The same accusation with as little unlike the declared point as will do.
ForeignFinding ForeignSweep::simplest(ForeignFinding finding) {
  constexpr int most_findings = 3;
  if (++simplified_ > most_findings || !stands_at_corners(finding)) return finding;
  const auto without = [&](auto&& put_back) {
    ForeignPoint less = finding.point;
    put_back(less);
    if (words_of(less, op_) == words_of(finding.point, op_)) return;
    const ForeignFinding still = look_alone(less, false);
    if (still.wrong() && still.failure.has_value() == finding.failure.has_value() && stands_at_corners(still))
      finding = still;
  };
  // Where buffers are concerned, indices belong to the shapes.
  const auto stays = [&](const ForeignInput& input) { return finding.failure && !is_floating(input.dtype); };
  without([](ForeignPoint& point) { point.threads = 1; });
  without([](ForeignPoint& point) { point.offset = -1; });
  for (std::size_t a = 0; a < declared_.attributes.size(); ++a)
    without([&](ForeignPoint& point) { point.attributes[a] = declared_.attributes[a]; });
  for (std::size_t i = 0; i < declared_.inputs.size(); ++i) {
    if (stays(declared_.inputs[i])) continue;
    without([&](ForeignPoint& point) {
      const Shape shape = point.inputs[i].shape;
      point.inputs[i] = declared_.inputs[i];
      point.inputs[i].shape = shape;
    });
  }
  without([&](ForeignPoint& point) {
    for (std::size_t i = 0; i < point.inputs.size(); ++i) point.inputs[i].shape = declared_.inputs[i].shape;
    point.shape_words.clear();
  });
  return look_alone(finding.point);
}

ForeignFinding ForeignSweep::judge(const ForeignPoint& point) {
  ForeignFinding finding = first_look(point);
  if (finding.wrong()) {
    ForeignFinding in_company = std::exchange(finding, look_alone(point));
    if (finding.wrong()) return simplest(std::move(finding));
    for (const ForeignPoint& earlier : {declared_, previous_.value_or(declared_)}) {
      if (std::optional<ForeignFinding> kept = kept_from(earlier, point)) return *kept;
    }
    // Wrong after all that came before, right alone, and nobody knows what it was.
    if (finding.report && finding.report->verdict == Verdict::agree && in_company.report) {
      finding.report->verdict = Verdict::cannot_tell;
      finding.report->note = "wrong in a process that had seen other points, and right in one of its own";
    }
  }
  previous_ = point;
  return finding;
}

FurtherPoints check_further_points(const ForeignOp& op, const CheckOptions& options, double seconds) {
  const auto start = std::chrono::steady_clock::now();
  FurtherPoints result;
  ForeignSweep sweep(op, options, {}, false);
  for (int tried = 0; tried < further_points && !result.wrong; ++tried) {
    const double left = seconds - seconds_since(start);
    std::optional<ForeignFinding> finding = left > 0 ? sweep.next(left) : std::nullopt;
    if (!finding) break;
    if (finding->wrong()) result.wrong = std::move(finding);
    else if (finding->report->passed()) ++result.agree;
    else result.undecided.push_back(finding->point);
  }
  result.not_varied = sweep.not_varied();
  return result;
}

}  // namespace gradus::testing
