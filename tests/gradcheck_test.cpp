// The gradient checker itself: its differences, its verdicts, large inputs, kinks, modules, and its reports for programs.
#include "framework/testing/gradcheck.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <type_traits>

#include "framework/ops/decisions.h"
#include "framework/ops/ops.h"
#include "framework/ops/registry.h"
#include "framework/random/generator.h"
#include "framework/tensor/creation.h"
#include "framework/testing/derivative.h"
#include "framework/testing/mutants.h"
#include "framework/testing/report_formats.h"
#include "framework/testing/sweep.h"
#include "models/gpt/gpt.h"
#include "tests/messages.h"

using namespace gradus;
using namespace gradus::testing;

namespace {

/// `f` computed in T, at `point` as T has it: the true error is within the claimed bar, or the bar says that nothing is known.
template <class T, class Function, class Slope>
void check_ladder(const std::string& name, Function f, double point, Slope slope, double useful_bar) {
  const T x = static_cast<T>(point), f0 = f(x);
  const double unit = std::is_same_v<T, double> ? 0x1p-53 : 0x1p-24, scale = std::fabs(static_cast<double>(x));
  const double quantum = unit * std::fabs(static_cast<double>(f0));
  const Curve curve = [&](double t) {
    const T moved = static_cast<T>(static_cast<double>(x) + t), y = f(moved);
    const double change = static_cast<double>(y) - static_cast<double>(f0);
    return Evaluation{.value = change, .magnitude = std::fabs(change), .moved = static_cast<double>(moved) - static_cast<double>(x),
                      .size = std::max(std::fabs(double(y)), std::fabs(double(f0))), .quantum = y == f0 ? 0 : quantum, .valid = std::isfinite(y)};
  };
  DerivativeOptions options{
      .scale = scale, .noise_step = scale * (std::is_same_v<T, double> ? 0x1.8p-47 : 0x1.8p-18), .smallest_step = 4 * unit * scale, .output_quantum = quantum};
  Derivative found = differentiate(curve, options);
  if (!found.conclusive) {  // as a check does
    options.effort = DerivativeOptions::Effort::thorough;
    found = differentiate(curve, options);
  }
  const double truth = static_cast<double>(slope(static_cast<long double>(x))), error = std::fabs(found.value - truth);
  CAPTURE(name);
  CAPTURE(found.value);
  CAPTURE(truth);
  CAPTURE(found.bar);
  CHECK(!found.at_kink);
  CHECK(error <= found.bar);
  if (useful_bar > 0) {
    CHECK(found.conclusive);
    CHECK(found.bar <= useful_bar * std::fabs(truth));
  } else {
    CHECK((!found.conclusive || found.bar > 0.1 * std::fabs(truth)));
  }
}

/// The bars that are still of use: relative, in f64 and in f32; 0 where the honest answer is that nothing can be told.
template <class Function, class Slope>
void check_ladders(const std::string& name, Function f, double point, Slope slope, double useful_f64, double useful_f32) {
  check_ladder<double>(name + " in f64", f, point, slope, useful_f64);
  check_ladder<float>(name + " in f32", f, point, slope, useful_f32);
}

/// y = x * tanh(x), element by element, for inputs of any layout; `damage` sees the gradient before it is returned.
Subject bumps(std::function<void(double*)> damage) {
  Subject subject;
  subject.name = "bumps";
  subject.inputs = {"x"};
  subject.outputs = {"y"};
  subject.differentiable = {true};
  subject.forward = [](const Tensors& inputs) { return Tensors{inputs[0] * tanh(inputs[0])}; };
  subject.backward = [damage](const Tensors& inputs, const Tensors& cotangents) {
    const Tensor t = tanh(inputs[0]), gradient = cotangents[0] * (t + inputs[0] * (1.0 - t * t));
    damage(gradient.mutable_data<double>());
    return Tensors{gradient};
  };
  return subject;
}

/// y = f(x) element by element, with the gradient slope(x) that its author claims, for inputs of any layout.
Subject by_element(const std::string& name, std::function<double(double)> f, std::function<double(double)> slope) {
  Subject subject;
  subject.name = name;
  subject.inputs = {"x"};
  subject.outputs = {"y"};
  subject.differentiable = {true};
  subject.forward = [f](const Tensors& inputs) {
    std::vector<double> y = inputs[0].to_vector<double>();
    for (double& value : y) value = f(value);
    return Tensors{from_values(inputs[0].shape(), y, DType::f64)};
  };
  subject.backward = [slope](const Tensors& inputs, const Tensors& cotangents) {
    std::vector<double> gradient = inputs[0].to_vector<double>();
    const std::vector<double> upstream = cotangents[0].to_vector<double>();
    for (std::size_t e = 0; e < gradient.size(); ++e) gradient[e] = upstream[e] * slope(gradient[e]);
    return Tensors{from_values(inputs[0].shape(), gradient, DType::f64)};
  };
  return subject;
}

Tensor normal(const Shape& shape, std::uint64_t seed = 3) {
  Generator generator(seed);
  return random_normal(shape, generator, DType::f64);
}

/// A function on one tensor with the gradient that its tape gives.
CheckReport check_function(const std::function<Tensor(const Tensor&)>& function, const Tensor& x, const CheckOptions& options = {}) {
  return check(subject_from_function("function", [&](const Tensors& inputs) { return Tensors{function(inputs[0])}; }, {"x"}, {true}), {x}, options);
}

}  // namespace

TEST_CASE("twelve functions: the true error is within the claimed bar, in f64 and f32") {
  check_ladders("sin at 1", [](auto x) { return std::sin(x); }, 1, [](long double x) { return std::cos(x); }, 1e-11, 1e-4);
  check_ladders("cube at 1e-6", [](auto x) { return x * x * x; }, 1e-6, [](long double x) { return 3 * x * x; }, 1e-12, 1e-4);
  check_ladders("log at 1e-7", [](auto x) { return std::log(x); }, 1e-7, [](long double x) { return 1 / x; }, 1e-10, 1e-2);
  check_ladders("square at 2e4", [](auto x) { return x * x; }, 2e4, [](long double x) { return 2 * x; }, 1e-12, 1e-4);
  check_ladders("1e6 + 0.001 sin at 1", [](auto x) { return decltype(x)(1e6) + decltype(x)(0.001) * std::sin(x); }, 1,
                [](long double x) { return 0.001L * std::cos(x); }, 1e-3, 0);
  check_ladders("sin(1000 x) at 1", [](auto x) { return std::sin(decltype(x)(1000) * x); }, 1, [](long double x) { return 1000 * std::cos(1000 * x); }, 1e-9, 1e-1);
  check_ladders("square root at 1e-4", [](auto x) { return std::sqrt(x); }, 1e-4, [](long double x) { return 0.5L / std::sqrt(x); }, 1e-10, 1e-3);
  check_ladders("softmax cross-entropy, logits near 50",
                [](auto x) {
                  using T = decltype(x);
                  const T a = T(50), b = T(49.5), m = std::max({x, a, b});
                  return std::log(std::exp(x - m) + std::exp(a - m) + std::exp(b - m)) + m - x;
                },
                51, [](long double x) { return 1 / (1 + std::exp(50 - x) + std::exp(49.5L - x)) - 1; }, 1e-10, 1e-2);
  check_ladders("saturated tanh at 18", [](auto x) { return std::tanh(x); }, 18, [](long double x) { return 1 / (std::cosh(x) * std::cosh(x)); }, 0, 0);
  check_ladders("exp at 10", [](auto x) { return std::exp(x); }, 10, [](long double x) { return std::exp(x); }, 1e-10, 1e-4);
  check_ladders("1 / x at 1e-3", [](auto x) { return decltype(x)(1) / x; }, 1e-3, [](long double x) { return -1 / (x * x); }, 1e-11, 1e-3);
  check_ladders("sigmoid at -30", [](auto x) { return decltype(x)(1) / (decltype(x)(1) + std::exp(-x)); }, -30,
                [](long double x) { return 1 / ((1 + std::exp(-x)) * (1 + std::exp(x))); }, 1e-10, 1e-4);
}

TEST_CASE("one wrong element of a hundred thousand is found and named") {
  constexpr std::int64_t wrong = 77777;
  const CheckReport report = check(bumps([](double* gradient) { gradient[wrong] *= 1.5; }), {normal({100, 1000})});
  REQUIRE(report.verdict == Verdict::disagree);
  REQUIRE(report.inputs[0].elements.size() == 1);
  CHECK(report.inputs[0].elements[0].element == wrong);
  CHECK(has(to_text(report), "[77,777]"));
  CHECK(report.evaluations < 800);  // a few for each halving, not one for each element
  CHECK(check(bumps([](double*) {}), {normal({100, 1000})}).verdict == Verdict::agree);
}

TEST_CASE("several wrong elements of a large input, among them neighbours and the ends") {
  const std::vector<std::int64_t> wrong = {0, 4000, 4001, 9999};
  const CheckReport report = check(bumps([&](double* gradient) {
                                     for (const std::int64_t e : wrong) gradient[e] += 1e-3;
                                   }),
                                   {normal({10000})});
  REQUIRE(report.verdict == Verdict::disagree);
  std::vector<std::int64_t> found;
  for (const ElementVerdict& element : report.inputs[0].elements) found.push_back(element.element);
  CHECK(found == wrong);
}

TEST_CASE("large inputs: the cause is named too, from their elements where that is cheap, else from a few directions") {
  const auto cause_of = [](const Shape& shape, const std::function<void(double*)>& damage) {
    const CheckReport report = check(bumps(damage), {normal(shape)});
    REQUIRE(report.verdict == Verdict::disagree);
    return report.hint ? report.hint->cause : Cause::unknown;
  };
  for (const Shape& shape : {Shape{30, 40}, Shape{100, 1000}}) {
    const std::int64_t count = shape.numel();
    const auto times = [count](double factor) {
      return [count, factor](double* gradient) {
        for (std::int64_t e = 0; e < count; ++e) gradient[e] *= factor;
      };
    };
    CHECK(cause_of(shape, times(0)) == Cause::zero);
    CHECK(cause_of(shape, times(-1)) == Cause::sign);
    CHECK(cause_of(shape, times(2)) == Cause::constant_factor);
    // Of a function of single elements an axis is no cause, whatever its size.
    CHECK(cause_of(shape, times(1.0 / double(shape[0]))) == Cause::constant_factor);
    Subject sums = bumps(times(1.0 / double(shape[0])));
    sums.forward = [](const Tensors& inputs) { return Tensors{sum(inputs[0] * tanh(inputs[0]), {0})}; };
    sums.backward = [of_each = sums.backward](const Tensors& inputs, const Tensors& cotangents) {
      return of_each(inputs, {broadcast_to(cotangents[0], inputs[0].shape())});
    };
    const CheckReport report = check(sums, {normal(shape)});
    REQUIRE(report.hint);
    CHECK(report.hint->cause == Cause::mean_for_sum);
  }
  CHECK(cause_of({30, 40}, [](double* gradient) { std::fill(gradient + 40, gradient + 80, 0.0); }) ==
        Cause::some_parts);
}

TEST_CASE("three verdicts: what cannot be resolved is neither right nor wrong") {
  // At 18 the outputs of tanh do not change, however the point moves: a claim of 1e-9 can be neither confirmed nor refuted.
  Subject saturated;
  saturated.name = "saturated";
  saturated.inputs = {"x"};
  saturated.outputs = {"y"};
  saturated.differentiable = {true};
  saturated.forward = [](const Tensors& inputs) { return Tensors{tanh(inputs[0]) + 1e6}; };
  double claim = 1e-12;
  saturated.backward = [&](const Tensors& inputs, const Tensors& cotangents) { return Tensors{mul(cotangents[0], full(inputs[0].shape(), claim, DType::f64))}; };
  const Tensors at = {from_values({3}, std::vector<double>{16, 17, 18}, DType::f64)};
  CHECK(check(saturated, at).verdict == Verdict::cannot_tell);
  claim = 1e-2;
  CHECK(check(saturated, at).verdict == Verdict::disagree);
  CHECK(check_function([](const Tensor& x) { return exp(x); }, normal({2, 3})).verdict == Verdict::agree);
}

TEST_CASE("a gradient that is truly zero is not accused although rounding is all that is left of it") {
  // softmax does not change where all its inputs move alike: what attention's keys have for a bias.
  const CheckReport report = check_function([](const Tensor& x) { return softmax(add(normal({4, 5}), x), -1); }, normal({1}));
  // Whether its rounding can be told from a gradient depends on the build: see the key biases of the model below.
  CHECK_MESSAGE(report.verdict != Verdict::disagree, to_text(report, true));
  CHECK(report.inputs[0].scale < 1e-11);
  // Where such a zero is claimed for a gradient that is none, it is refused.
  Subject wrong = subject_from_function("wrong", [](const Tensors& inputs) { return Tensors{inputs[0] * 1e-6}; }, {"x"}, {true});
  wrong.backward = [](const Tensors& inputs, const Tensors&) { return Tensors{full(inputs[0].shape(), 1e-22, DType::f64)}; };
  CHECK(check(wrong, {normal({3})}).verdict == Verdict::disagree);
}

TEST_CASE("on a kink every slope between the two sides is accepted, and no other") {
  const Tensor at_kink = from_values({3}, std::vector<double>{-1, 0, 2}, DType::f64);
  for (const auto& [slope, verdict] : {std::pair{0.0, Verdict::agree}, {0.5, Verdict::agree}, {1.0, Verdict::agree}, {1.1, Verdict::disagree}, {-0.1, Verdict::disagree}}) {
    CAPTURE(slope);
    Subject subject = subject_from_function("relu", [](const Tensors& inputs) { return Tensors{relu(inputs[0])}; }, {"x"}, {true});
    subject.backward = [slope = slope](const Tensors&, const Tensors& cotangents) {
      return Tensors{mul(cotangents[0], from_values({3}, std::vector<double>{0, slope, 1}, DType::f64))};
    };
    const CheckReport report = check(subject, {at_kink});
    CHECK(report.verdict == verdict);
    CHECK(report.inputs[0].subgradients == (verdict == Verdict::agree ? 1 : 0));
  }
}

TEST_CASE("kinks of functions that report no branches") {
  Subject subject = by_element(
      "ramp", [](double x) { return x > 0 ? x : 0; }, [](double x) { return double(x > 0); });
  const Tensor at_kink = from_values({3}, std::vector<double>{-1, 0, 2}, DType::f64);
  for (const auto& [slope, verdict] : {std::pair{0.0, Verdict::agree},
                                       {0.5, Verdict::agree},
                                       {1.0, Verdict::agree},
                                       {1.1, Verdict::disagree},
                                       {-0.1, Verdict::disagree}}) {
    CAPTURE(slope);
    subject.backward = [slope = slope](const Tensors&, const Tensors& cotangents) {
      return Tensors{cotangents[0] * from_values({3}, std::vector<double>{0, slope, 1}, DType::f64)};
    };
    CHECK(check(subject, {at_kink}).verdict == verdict);
  }
}

TEST_CASE("steps stay in the declared range, also along directions") {
  for (const std::int64_t count : {12, 700}) {
    Subject table = by_element(
        "table",
        [](double x) {
          if (!(x >= 0 && x <= 1)) throw std::out_of_range("outside the table");
          return std::sqrt(x + 1);
        },
        [](double x) { return 0.5 / std::sqrt(x + 1); });
    table.ranges = {{0, 1}};
    Generator generator(5);
    Tensor x = random_uniform({count}, generator, DType::f64, 0, 1);
    x.mutable_data<double>()[3] = 0;  // at the edge
    x.mutable_data<double>()[4] = 1;
    const CheckReport report = check(table, {x});
    CHECK_MESSAGE(report.verdict == Verdict::agree, to_text(report));
    table.backward = [](const Tensors& inputs, const Tensors& cotangents) {
      return Tensors{cotangents[0] * 0.25 / sqrt(inputs[0] + 1.0)};
    };
    CHECK(check(table, {x}).verdict == Verdict::disagree);
  }
}

TEST_CASE("at the edge of a domain one side is enough, and judged by more than differences") {
  const Tensor at_edge = from_values({3}, std::vector<double>{0, 0.5, 1}, DType::f64);
  for (const auto& [factor, verdict] : {std::pair{1.0, Verdict::agree}, {1.01, Verdict::disagree}}) {
    Subject edge = by_element(
        "edge", [](double x) { return x < 0 ? std::nan("") : std::exp(x); },
        [factor = factor](double x) { return std::exp(x) * (x == 0 ? factor : 1); });
    const CheckReport report = check(edge, {at_edge});
    CHECK_MESSAGE(report.verdict == verdict, to_text(report));
  }
}

TEST_CASE("an op that takes its point alone can be told neither right nor wrong") {
  const Tensor point = normal({3});
  const std::vector<double> only = point.to_vector<double>();
  for (const double slope : {0.0, 2.0}) {
    CAPTURE(slope);
    Subject picky = by_element(
        "picky",
        [only](double x) {
          if (std::find(only.begin(), only.end(), x) == only.end()) fail("not this value");
          return 2 * x;
        },
        [slope](double) { return slope; });
    picky.is_refusal = [](const Error&) { return true; };
    const CheckReport report = check(picky, {point});
    CHECK_MESSAGE(report.verdict == Verdict::cannot_tell, to_text(report));
  }
}

TEST_CASE("doubt is not lost: in large inputs, and beside a kink") {
  const auto far_up = [](double x) { return x > 10 ? std::tanh(x) + 1e6 : x > 0 ? x : 0; };
  const Subject subject = by_element("far up", far_up, [](double x) { return x > 10 ? 1e-12 : double(x > 0); });
  CHECK(check(subject, {full({3}, 17, DType::f64)}).verdict == Verdict::cannot_tell);
  CHECK(check(subject, {full({300}, 17, DType::f64)}).verdict == Verdict::cannot_tell);
  CHECK(check(subject, {from_values({2}, std::vector<double>{0, 17}, DType::f64)}).verdict != Verdict::agree);
}

TEST_CASE("a forward that gives NaN is never agreed with") {
  const Subject subject = by_element(
      "nothing", [](double x) { return x > 0 ? std::nan("") : x; }, [](double x) { return double(!(x > 0)); });
  const CheckReport report = check(subject, {from_values({3}, std::vector<double>{-1, 1, -2}, DType::f64)});
  CHECK(report.verdict == Verdict::cannot_tell);
  CHECK(has(to_text(report), "forward gives NaN for the output 'y' at [1]"));
}

TEST_CASE("second order of f32 inputs is checked, in f64") {
  SampleMaker make(6);
  Sample sample = find_op("tanh").samples(make)[0];
  sample.inputs = in_dtype(sample.inputs, DType::f32);
  const CheckReport report = check(find_op("tanh"), sample, {}, 2);
  CHECK(report.verdict == Verdict::agree);
  CHECK(report.mutants() > 0);
}

TEST_CASE("broken promises that a second call would not show") {
  const auto cause_of = [](const Subject& subject) {
    const CheckReport report = check(subject, {normal({3, 4})});
    CHECK(report.verdict == Verdict::disagree);
    return report.hint ? report.hint->cause : Cause::unknown;
  };
  const Subject right = by_element(
      "ramp", [](double x) { return x > 0 ? x : 0; }, [](double x) { return double(x > 0); });
  CHECK(check(right, {normal({3, 4})}).verdict == Verdict::agree);

  Subject clamps_its_input = right;
  clamps_its_input.forward = [](const Tensors& inputs) {
    double* x = inputs[0].mutable_data<double>();
    for (std::int64_t e = 0; e < inputs[0].numel(); ++e) x[e] = std::max(x[e], 0.0);
    return Tensors{from_values(inputs[0].shape(), inputs[0].to_vector<double>(), DType::f64)};
  };
  CHECK(cause_of(clamps_its_input) == Cause::modifies_input);

  Subject masks_upstream = right;
  masks_upstream.backward = [](const Tensors& inputs, const Tensors& cotangents) {
    const std::vector<double> x = inputs[0].to_vector<double>();
    double* upstream = cotangents[0].mutable_data<double>();
    for (std::size_t e = 0; e < x.size(); ++e) upstream[e] *= x[e] > 0;
    return Tensors{from_values(inputs[0].shape(), cotangents[0].to_vector<double>(), DType::f64)};
  };
  CHECK(cause_of(masks_upstream) == Cause::modifies_input);

  Subject divides_by_norm = right;
  divides_by_norm.backward = [right](const Tensors& inputs, const Tensors& cotangents) {
    double norm = 0;
    for (const double value : cotangents[0].to_vector<double>()) norm += value * value;
    return Tensors{right.backward(inputs, cotangents)[0] * (norm / norm)};
  };
  CHECK(cause_of(divides_by_norm) == Cause::not_linear);

  Subject ignores_strides = right;
  ignores_strides.forward = [](const Tensors& inputs) {
    const double* x = inputs[0].data<double>();
    std::vector<double> y(static_cast<std::size_t>(inputs[0].numel()));
    for (std::size_t e = 0; e < y.size(); ++e) y[e] = std::max(x[e], 0.0);
    return Tensors{from_values(inputs[0].shape(), y, DType::f64)};
  };
  CHECK(cause_of(ignores_strides) == Cause::memory_layout);
}

TEST_CASE("no cause is named from elements about which nothing is known") {
  const auto root = [](double x) { return std::sqrt(x); };
  const auto slope = [](double x) { return 0.5 / std::sqrt(x); };
  const Tensor with_zero = from_values({6}, std::vector<double>{0.5, 0, 1, 2, 3, 4}, DType::f64);
  const CheckReport seven = check(by_element("root", root, [&](double x) { return 7.3 * slope(x); }), {with_zero});
  CHECK(seven.verdict == Verdict::disagree);
  CHECK((!seven.hint || !has(seven.hint->sentence, "1/")));
  const CheckReport nonsense = check(by_element("root", root, [&](double x) { return slope(x) + x * x; }), {with_zero});
  CHECK(nonsense.verdict == Verdict::disagree);
  CHECK((!nonsense.hint || nonsense.hint->cause != Cause::wrong_order));
}

TEST_CASE("ops report the branch they take, while somebody asks") {
  const auto hash_of = [](const std::function<void()>& body) {
    const DecisionScope decisions;
    body();
    return decisions.hash();
  };
  const auto of = [&](std::vector<double> values, const std::function<Tensor(const Tensor&)>& op) {
    const Tensor x = from_values({static_cast<std::int64_t>(values.size())}, values, DType::f64);
    return hash_of([&] { op(x); });
  };
  const std::vector<std::pair<std::string, std::function<Tensor(const Tensor&)>>> branching = {
      {"relu", [](const Tensor& x) { return relu(x); }},
      {"abs", [](const Tensor& x) { return abs(x); }},
      {"clamp", [](const Tensor& x) { return clamp(x, -0.5, 10.0); }},
      {"maximum", [](const Tensor& x) { return maximum(x, zeros_like(x)); }},
      {"max", [](const Tensor& x) { return max(x, 0); }},
  };
  for (const auto& [name, op] : branching) {
    CAPTURE(name);
    CHECK(of({1, 2, 3}, op) == of({1.5, 2.5, 3.5}, op));
    CHECK(of({1, 2, 3}, op) != of({1, 4, -3}, op));
  }
  CHECK(of({1, 2, 3}, [](const Tensor& x) { return exp(x); }) == of({1, -4, -3}, [](const Tensor& x) { return exp(x); }));
}

TEST_CASE("a whole model: one report for each parameter, and a broken one is named") {
  const models::GptConfig config{.vocabulary_size = 7, .block_size = 8, .layers = 1, .heads = 2, .width = 4, .dropout = {0, 0, 0}};
  const models::Gpt model(config, 5, DType::f64);
  Generator generator(5);
  const Tensor ids = random_integers({2, 4}, generator, 0, 6);
  const Subject subject = subject_of_module("gpt", model, [&]() -> Tensors { return {model.forward(ids)}; });
  Tensors parameters;
  for (const Tensor& parameter : model.parameters()) parameters.push_back(add(parameter.detach(), random_normal(parameter.shape(), generator, DType::f64, 0, 0.3)));
  const CheckReport right = check(subject, parameters);
  CHECK_MESSAGE(right.verdict == Verdict::agree, to_text(right));
  CHECK(right.inputs.size() == model.named_parameters().size());

  Subject broken = subject;
  broken.backward = [&](const Tensors& inputs, const Tensors& cotangents) {
    Tensors gradients = subject.backward(inputs, cotangents);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (subject.inputs[i] == "blocks.0.mlp.2.weight") gradients[i] = gradients[i] * 0.5;
    }
    return gradients;
  };
  const CheckReport wrong = check(broken, parameters);
  for (const InputReport& input : wrong.inputs) CHECK((input.verdict == Verdict::disagree) == (input.name == "blocks.0.mlp.2.weight"));
  REQUIRE(wrong.hint);
  CHECK(has(wrong.hint->sentence, "1/2"));
}

TEST_CASE("no false alarm: every op on random values and sizes") {
  int checks = 0, cannot_tell = 0, varied = 0, draws = 0;
  for (const OpSpec* spec : all_ops()) {
    if (!spec->samples) continue;
    CheckOptions options;
    options.seed = 40;
    options.hints = false;
    const SweepReport report = sweep(*spec, 3, options);
    CHECK_MESSAGE(report.disagree == 0, spec->name, "\n", report.doubtful.empty() ? "" : to_text(report.doubtful[0]));
    checks += report.agree + report.disagree + report.cannot_tell;
    cannot_tell += report.cannot_tell;
    varied += report.draws - report.sizes_kept;
    draws += report.draws;
  }
  CHECK(checks > 250);
  CHECK(100 * cannot_tell <= checks);
  CHECK(2 * varied > draws);  // most really had other sizes
}

TEST_CASE("gradients in f32 are judged by the forward in f64") {
  int checks = 0, undecided = 0;
  for (const OpSpec* spec : all_ops()) {
    if (!spec->samples || !spec->is_differentiable()) continue;
    SampleMaker make(6);
    Sample sample = spec->samples(make)[0];
    sample.inputs = in_dtype(sample.inputs, DType::f32);
    CheckOptions options;
    options.hints = false;
    const CheckReport report = check(*spec, sample, options);
    CHECK_MESSAGE(report.verdict != Verdict::disagree, to_text(report));
    ++checks;
    undecided += report.verdict == Verdict::cannot_tell;
  }
  CHECK(checks > 40);
  CHECK(undecided == 0);

  SampleMaker make(6);
  Sample sample = find_op("scaled_dot_product_attention").samples(make)[0];
  sample.inputs = in_dtype(sample.inputs, DType::f32);
  for (const Mutant& mutant : all_mutants()) {
    if (mutant.name != "first element missing" && mutant.name != "zero") continue;
    const OpSpec wrong = mutate(find_op("scaled_dot_product_attention"), mutant);
    CHECK_MESSAGE(check(wrong, sample).verdict == Verdict::disagree, mutant.name);
  }
}

TEST_CASE("reports for programs: JSON, JUnit, and a line for editors") {
  const CheckReport wrong = check(bumps([](double* gradient) { gradient[4] = std::nan(""); }), {normal({2, 3})});
  const nlohmann::ordered_json json = to_json(wrong);
  CHECK(json.at("verdict") == "disagree");
  CHECK(json.at("inputs").at(0).at("input") == "x");
  CHECK(json.at("inputs").at(0).at("shape") == nlohmann::json{2, 3});
  CHECK(json.at("inputs").at(0).at("worst").at("element") == 4);
  CHECK(nlohmann::json::parse(json.dump()).at("inputs").at(0).at("worst").at("yours").is_null());  // NaN is no JSON
  CHECK(json_report(outcome_of(wrong.verdict), 1, 1.5).dump() ==
        R"({"schema":"gradus.gradcheck","version":2,"verdict":"disagree","exit_code":1,"seconds":1.5})");
  CHECK(has(editor_line("bumps.cpp", wrong), "bumps.cpp:bumps:x[1,1]: "));

  const CheckReport right = check(bumps([](double*) {}), {normal({2, 3})});
  CHECK(editor_line("bumps.cpp", right).empty());
  CHECK(to_json(right).at("cause").is_null());
  CheckReport renamed = wrong;
  renamed.subject = "a<b>&\"c\"";
  const std::string junit = junit_text({to_junit(renamed), to_junit(right)});
  CHECK(has(junit, "tests=\"2\" failures=\"1\" skipped=\"0\""));
  CHECK(has(junit, "classname=\"a&lt;b&gt;&amp;&quot;c&quot;\""));
  CHECK(has(junit, "<failure message=\"x[1,1]: "));
  CHECK(has(junit, "\">a&lt;b&gt;&amp;&quot;c&quot;  "));  // the report in the body

  const RecordReport record = check_record(find_op("tanh"));
  CHECK(to_json(record).at("passed") == true);
  CHECK(to_json(record).at("gradients").size() == record.gradients.size());
  CHECK(record.gradients.size() >= 2);
  CHECK(to_junit(record).size() == record.suites.size());
}
