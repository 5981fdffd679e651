// The zoo itself: its right ops are right by central differences, and every bug shows at the inputs it comes with.
#include "framework/testing/bug_zoo.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "framework/io/files.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/tensor/creation.h"
#include "framework/testing/gradcheck.h"
#include "framework/testing/zoo_report.h"
#include "tests/program.h"

using namespace gradus;
using namespace gradus::testing;

namespace {

using Values = std::vector<double>;

Tensors clone(const Tensors& tensors) {
  Tensors clones;
  for (const Tensor& tensor : tensors)
    clones.push_back(tensor.defined() ? from_values(tensor.shape(), tensor.to_vector<double>(), tensor.dtype())
                                      : tensor);
  return clones;
}

/// Normal numbers times `scale`, one tensor for each output.
Tensors random_cotangents(const Subject& subject, const Tensors& inputs, double scale, std::uint64_t stream = 0) {
  Generator generator(99, stream);
  Tensors cotangents;
  for (const Tensor& output : subject.forward(clone(inputs)))
    cotangents.push_back(random_normal(output.shape(), generator, DType::f64, 0, scale));
  return cotangents;
}

double pairing(const Tensors& outputs, const Tensors& cotangents) {
  double sum = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const Values y = outputs[k].to_vector<double>(), g = cotangents[k].to_vector<double>();
    REQUIRE(y.size() == g.size());
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * g[i];
  }
  return sum;
}

Values central_differences(const Subject& subject, const Tensors& inputs, std::size_t input,
                           const Tensors& cotangents) {
  const Values x = inputs[input].to_vector<double>();
  Values slopes(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double step = 1e-5 * std::max(1.0, std::abs(x[i]));
    const auto at = [&](double value) {
      Tensors moved = clone(inputs);
      moved[input].mutable_data<double>()[i] = value;
      return pairing(subject.forward(moved), cotangents);
    };
    slopes[i] = (at(x[i] + step) - at(x[i] - step)) / ((x[i] + step) - (x[i] - step));
  }
  return slopes;
}

double largest(const Values& values) {
  double result = 0;
  for (double value : values) result = std::max(result, std::abs(value));
  return result;
}

/// max |a - b| relative to max |b|; NaN counts as infinitely far.
double distance(const Values& a, const Values& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::isnan(a[i] - b[i]) ? INFINITY : std::max(worst, std::abs(a[i] - b[i]));
  const double scale = largest(b);
  return scale > 0 ? worst / scale : worst;
}

/// The largest distance over the inputs. `b` is well-formed; a wrong shape in `a` counts as infinitely far.
double distance(const Tensors& a, const Tensors& b) {
  double worst = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (!b[i].defined()) continue;
    const bool fits = a[i].defined() && a[i].spec() == b[i].spec();
    worst = std::max(worst, fits ? distance(a[i].to_vector<double>(), b[i].to_vector<double>()) : INFINITY);
  }
  return worst;
}

Tensors times(const Tensors& tensors, double factor) {
  Tensors result = clone(tensors);
  for (const Tensor& tensor : result)
    for (std::int64_t i = 0; tensor.defined() && i < tensor.numel(); ++i) tensor.mutable_data<double>()[i] *= factor;
  return result;
}

/// Zero but for the elements begin, begin + 2, ...
Tensors every_second(const Tensors& tensors, std::int64_t begin) {
  Tensors result = clone(tensors);
  for (const Tensor& tensor : result)
    for (std::int64_t i = 1 - begin; i < tensor.numel(); i += 2) tensor.mutable_data<double>()[i] = 0;
  return result;
}

Tensors sum(const Tensors& a, const Tensors& b) {
  Tensors result = clone(a);
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (!a[k].defined()) continue;
    const Values more = b[k].to_vector<double>();
    for (std::size_t i = 0; i < more.size(); ++i) result[k].mutable_data<double>()[i] += more[i];
  }
  return result;
}

/// The same values, every second element of a buffer.
Tensors strided(const Tensors& tensors) {
  Tensors result;
  for (const Tensor& tensor : tensors) {
    const Tensor buffer = zeros({2 * tensor.numel() + 1}, tensor.dtype());
    Shape strides = tensor.strides();
    for (int axis = 0; axis < tensor.rank(); ++axis) strides[axis] *= 2;
    result.push_back(buffer.window(tensor.shape(), strides, 1));
    cpu::copy(result.back(), tensor);
  }
  return result;
}

/// Whether the promise that `bug.cause` names is broken; `right` and the inputs are the op's, `elsewhere` another
/// seed's.
bool breaks_its_contract(const Bug& bug, const Subject& right, const Tensors& elsewhere) {
  const Subject& wrong = bug.subject;
  const Tensors g = random_cotangents(right, bug.inputs, 1);
  switch (bug.cause) {
    case Cause::not_finite: {
      bool finite = true;
      for (const Tensor& gradient : wrong.backward(clone(bug.inputs), g))
        for (double value : gradient.to_vector<double>()) finite = finite && std::isfinite(value);
      return !finite;
    }
    case Cause::wrong_shape: {
      const Tensors gradients = wrong.backward(clone(bug.inputs), g);
      for (std::size_t i = 0; i < gradients.size(); ++i)
        if (wrong.differentiable[i] && !(gradients[i].spec() == bug.inputs[i].spec())) return true;
      return false;
    }
    case Cause::not_deterministic:
      return distance(wrong.backward(clone(bug.inputs), g), wrong.backward(clone(bug.inputs), g)) > 1e-6;
    case Cause::not_linear: {
      const Tensors all = wrong.backward(clone(bug.inputs), g);
      const Tensors even = wrong.backward(clone(bug.inputs), every_second(g, 0)),
                    odd = wrong.backward(clone(bug.inputs), every_second(g, 1));
      return distance(wrong.backward(clone(bug.inputs), times(g, -10)), times(all, -10)) > 1e-6 ||
             distance(sum(even, odd), all) > 1e-6;
    }
    case Cause::modifies_input: {
      const Tensors inputs = clone(bug.inputs), upstream = clone(g);
      wrong.forward(inputs);
      wrong.backward(inputs, upstream);
      return distance(inputs, bug.inputs) > 1e-6 || distance(upstream, g) > 1e-6;
    }
    case Cause::memory_layout:
      return distance(wrong.backward(strided(bug.inputs), g), right.backward(bug.inputs, g)) > 1e-6;
    case Cause::upstream_partly_used: {
      bool broken = false;
      for (std::size_t k = 0; k < g.size(); ++k) {
        Tensors without = g;
        without[k] = Tensor();
        broken |= distance(wrong.backward(bug.inputs, without), right.backward(bug.inputs, without)) > 1e-6;
      }
      return broken;
    }
    case Cause::stale_state: {
      wrong.forward(clone(bug.inputs));
      wrong.backward(clone(bug.inputs), g);
      wrong.forward(clone(elsewhere));
      const auto off_at = [&](const Tensors& inputs) {
        return distance(wrong.backward(clone(inputs), g), right.backward(clone(inputs), g));
      };
      return off_at(bug.inputs) > 1e-6 || off_at(elsewhere) > 1e-6;
    }
    default: return false;
  }
}

constexpr Cause contracts[] = {Cause::not_finite,    Cause::wrong_shape,         Cause::not_deterministic,
                               Cause::not_linear,    Cause::modifies_input,      Cause::stale_state,
                               Cause::memory_layout, Cause::upstream_partly_used};

}  // namespace

TEST_CASE("the zoo's right ops are right") {
  for (std::uint64_t seed : {1, 2, 3})
    for (const CorrectOp& op : zoo_ops(seed)) {
      CAPTURE(op.op);
      CAPTURE(seed);
      const Tensors g = random_cotangents(op.subject, op.inputs, 1);
      const Tensors inputs = clone(op.inputs);
      const Tensors gradients = op.subject.backward(inputs, g);
      REQUIRE(gradients.size() == op.inputs.size());
      REQUIRE(op.subject.inputs.size() == op.inputs.size());
      REQUIRE(op.subject.outputs.size() == g.size());
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        CAPTURE(op.subject.inputs[i]);
        CHECK(inputs[i].to_vector<double>() == op.inputs[i].to_vector<double>());
        if (!op.subject.differentiable[i]) {
          CHECK_FALSE(gradients[i].defined());
          continue;
        }
        REQUIRE(gradients[i].spec() == op.inputs[i].spec());
        const Values slopes = central_differences(op.subject, op.inputs, i, g),
                     claimed = gradients[i].to_vector<double>();
        CHECK(largest(slopes) > 0);
        CHECK(distance(claimed, slopes) < 1e-6);
      }
      CHECK(distance(op.subject.backward(clone(op.inputs), g), gradients) == 0);
      CHECK(distance(op.subject.backward(clone(op.inputs), times(g, -10)), times(gradients, -10)) < 1e-12);
    }
}

TEST_CASE("an undefined upstream gradient counts as zero") {
  for (const CorrectOp& op : zoo_ops()) {
    CAPTURE(op.op);
    Tensors zero = times(random_cotangents(op.subject, op.inputs, 1), 0);
    const Tensors expected = op.subject.backward(clone(op.inputs), zero);
    CHECK(distance(op.subject.backward(clone(op.inputs), Tensors(zero.size())), expected) == 0);
  }
}

TEST_CASE("every bug shows") {
  for (std::uint64_t seed : {1, 2, 3}) {
    std::map<std::string, CorrectOp> ops, elsewhere;
    for (const CorrectOp& op : zoo_ops(seed)) ops[op.op] = op;
    for (const CorrectOp& op : zoo_ops(seed + 10)) elsewhere[op.op] = op;
    for (const Bug& bug : bug_zoo(seed)) {
      CAPTURE(bug.name);
      CAPTURE(seed);
      REQUIRE(ops.contains(bug.op));
      const Subject& right = ops[bug.op].subject;
      if (std::ranges::count(contracts, bug.cause)) {
        CHECK(breaks_its_contract(bug, right, elsewhere[bug.op].inputs));
        continue;
      }
      for (double scale : {1.0, 1e-6}) {
        CAPTURE(scale);
        const Tensors g = random_cotangents(right, bug.inputs, scale, 7);
        const double off = distance(bug.subject.backward(clone(bug.inputs), g), right.backward(clone(bug.inputs), g));
        if (bug.cause == Cause::rounded) {
          CHECK(off > 1e-10);
          CHECK(off < 1e-2);
        } else {
          CHECK(off > 1e-3);
        }
      }
    }
  }
}

TEST_CASE("the checker rejects every bug, and names nearly every cause") {
  for (std::uint64_t seed : {1, 2, 3}) {
    CAPTURE(seed);
    const std::vector<Sighting> sightings = visit_zoo(seed);
    std::map<Answer, std::size_t> count;
    for (const Sighting& seen : sightings) {
      CAPTURE(seen.op);
      CAPTURE(seen.bug);
      CHECK(seen.rejected);
      CHECK(seen.rejected_when_small);
      CHECK_MESSAGE(seen.answer != Answer::wrong, seen.hint->sentence);
      if (seen.hint && seen.hint->share) CHECK(*seen.hint->share > 0.99);
      ++count[seen.answer];
    }
    CHECK(count[Answer::precise] >= 0.95 * sightings.size());
  }
}

TEST_CASE("every cause is named for some bug") {
  std::set<Cause> named;
  for (const Sighting& seen : visit_zoo())
    if (seen.answer == Answer::precise) named.insert(seen.hint->cause);
  named.insert(Cause::forward_differs);  // no bug of a gradient: grading_test
  for (int cause = 1; cause < cause_count; ++cause)
    CHECK_MESSAGE(named.contains(static_cast<Cause>(cause)), to_string(static_cast<Cause>(cause)));
}

TEST_CASE("docs/bug-zoo.md is what the checker says") {
  const TemporaryFolder folder;
  const Outcome page = run_program(folder, {"gradcheck", "--zoo"});
  CHECK(page.status == 0);
  CHECK(page.out == io::read_file(GRADUS_SOURCE_DIR "/docs/bug-zoo.md"));
  CHECK(page.out == to_markdown(visit_zoo()));
}

TEST_CASE("the checker agrees with every right op, and suspects nothing") {
  for (std::uint64_t seed : {1, 2, 3})
    for (const CorrectOp& op : zoo_ops(seed))
      for (const double scale : {1.0, 1e-6}) {
        CAPTURE(op.op);
        CAPTURE(seed);
        CAPTURE(scale);
        CheckOptions options;
        options.cotangent_scale = scale;
        const CheckReport report = check(op.subject, op.inputs, options);
        CHECK_MESSAGE(report.verdict == Verdict::agree, to_text(report));
        CHECK_FALSE(report.hint.has_value());
      }
}

TEST_CASE("names are unique, every cause has its bug, and few bugs have no name") {
  const std::vector<Bug> bugs = bug_zoo();
  std::set<std::string> names, ops;
  std::map<Cause, int> count;
  for (const Bug& bug : bugs) {
    CHECK_MESSAGE(names.insert(bug.name).second, bug.name);
    CHECK_FALSE(bug.summary.empty());
    ++count[bug.cause];
  }
  for (const CorrectOp& op : zoo_ops()) CHECK_MESSAGE(ops.insert(op.op).second, op.op);
  CHECK(bugs.size() >= 150);
  CHECK(count[Cause::unknown] <= 3);
}
