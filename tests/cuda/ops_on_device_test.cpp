// Every op's CUDA kernels through every generated suite.
#include <doctest/doctest.h>

#include <cmath>

#include "framework/autograd/autograd.h"
#include "framework/kernels/cuda/runtime.h"
#include "framework/kernels/elements.h"
#include "framework/ops/cuda/backend.h"
#include "framework/ops/device_kernels.h"
#include "framework/ops/ops.h"
#include "framework/ops/registry.h"
#include "framework/tensor/creation.h"
#include "framework/testing/op_checks.h"
#include "framework/testing/subject.h"
#include "framework/testing/through_device.h"

using namespace gradus;

namespace {

constexpr Device device{Device::Kind::cuda, 0};

bool has_kernels(const OpSpec& spec) {
  try {
    kernels_of(spec, device);
    return true;
  } catch (const ContractError&) {
    return false;
  }
}

/// The gradient of <outputs, random cotangents> with respect to what has one, and the same of that gradient.
Tensors two_orders(const OpSpec& spec, const Sample& sample, Device where) {
  Generator generator(5);
  const auto random_like = [&](const Tensors& tensors) {
    Tensors numbers;
    for (const Tensor& t : tensors) numbers.push_back(on_device(random_normal(t.shape(), generator, t.dtype()), where));
    return numbers;
  };
  const std::vector<bool> needs = testing::differentiable_inputs(spec, sample.inputs);
  Tensors inputs, wanted;
  for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
    inputs.push_back(sample.inputs[i].defined() ? on_device(sample.inputs[i], where).detach() : Tensor());
    if (needs[i]) wanted.push_back(inputs[i].set_requires_grad());
  }
  Tensors reached;
  for (const Tensor& output : apply(spec, inputs, sample.attributes)) {
    if (output.requires_grad()) reached.push_back(output);
  }
  Tensors cotangents = random_like(reached);
  for (Tensor& cotangent : cotangents) wanted.push_back(cotangent.set_requires_grad());
  Tensors first =
      grad(reached, Tensors(wanted.begin(), wanted.end() - cotangents.size()), cotangents, {.create_graph = true});
  std::erase_if(first, [](const Tensor& gradient) { return !gradient.defined() || !gradient.requires_grad(); });
  Tensors all = first;
  for (const Tensor& second : grad(first, wanted, random_like(first))) {
    if (second.defined()) all.push_back(second);
  }
  return all;
}

double largest_difference(const Tensors& a, const Tensors& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const std::vector<double> x = a[k].to_vector<double>(), y = b[k].to_vector<double>();
    if (x.size() != y.size()) return INFINITY;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double difference = std::fabs(x[i] - y[i]) / (1 + std::fabs(y[i]));
      if (!(difference <= largest)) largest = difference;
    }
  }
  return largest;
}

}  // namespace

TEST_CASE("slopes far out are not 0 on the device either") {
  install_cuda();
  for (Tensor (*op)(const Tensor&, SourceLocation) : {sigmoid, tanh, gelu_tanh}) {
    const auto slopes = [op](Device where) {
      const Tensor x = on_device(from_values({6}, std::vector<double>{-20, -6, -4, 4, 17, 20}, DType::f64), where).detach();
      x.set_requires_grad();
      backward(sum(op(x, SourceLocation::current())));
      return x.gradient().to_vector<double>();
    };
    const std::vector<double> here = slopes({}), there = slopes(device);
    for (std::size_t i = 0; i < here.size(); ++i) CHECK(there[i] == doctest::Approx(here[i]).epsilon(1e-12).scale(0));
    CHECK((there[5] != 0 && there[0] != 0));
  }
}

TEST_CASE("second derivatives on the device are those of the CPU") {
  install_cuda();
  int compared = 0;
  for (const OpSpec* spec : all_ops()) {
    if (!spec->is_differentiable()) continue;
    SampleMaker make(3);
    for (const Sample& sample : spec->samples(make)) {
      if (std::any_of(sample.inputs.begin(), sample.inputs.end(),
                      [](const Tensor& t) { return t.defined() && t.numel() > 100; }))
        continue;
      INFO(spec->name << ", " << sample.label);
      CHECK(largest_difference(two_orders(*spec, sample, device), two_orders(*spec, sample, {})) <= 1e-11);
      ++compared;
    }
  }
  CHECK(compared > 100);
}

TEST_CASE("every op's kernels pass the generated suites") {
  install_cuda();
  int checked = 0;
  for (const OpSpec* spec : all_ops()) {
    INFO(spec->name);
    REQUIRE(has_kernels(*spec));
    ++checked;
    const OpSpec there = testing::through_device(*spec, device);
    testing::CheckOptions options;
    options.every_element_up_to = 0;  // along random directions: each evaluation is an emulation
    options.directions = 2;
    options.order = 1;  // the second one is made of ops and checked below
    const testing::RecordReport report = testing::check_record(there, options);
    MESSAGE(spec->name << ": " << report.seconds << " s");
    INFO(report.text());
    CHECK_MESSAGE((report.verdict() == testing::Verdict::agree), spec->name);
  }
  CHECK(checked == static_cast<int>(all_ops().size()));
}

TEST_CASE("gradients of another device are refused, wherever they come from") {
  install_cuda();
  const auto leaf = [](Device where) {
    return on_device(from_values({2}, std::vector<double>{1, 2}), where).detach().set_requires_grad();
  };
  const Tensor x = leaf(device), here = ones({2}, DType::f32);
  CHECK_THROWS_WITH_AS(backward(exp(x), here),
                       doctest::Contains("the cotangent of an output (2) f32 cuda:0 cannot be (2) f32 cpu"),
                       ContractError);
  CHECK_THROWS_WITH_AS(x.set_gradient(here),
                       doctest::Contains("the gradient of a tensor (2) f32 cuda:0 cannot be (2) f32 cpu"),
                       ContractError);
  register_hook(x, [&](const Tensor&) { return here; });
  CHECK_THROWS_WITH_AS(backward(sum(x)),
                       doctest::Contains("a hook cannot replace the gradient (2) f32 cuda:0 by (2) f32 cpu"),
                       ContractError);
  const Tensor moved = leaf(device), y = exp(moved * moved);
  moved.move_to({});
  CHECK_THROWS_WITH_AS(backward(sum(y)), doctest::Contains("was saved for backward on cuda:0"), ContractError);
  CHECK_THROWS_WITH_AS(elements::add(x, x, here), doctest::Contains("they are on different devices"), ContractError);
}

TEST_CASE("tensors on a device") {
  install_cuda();
  const Tensor x = from_values({2, 3}, std::vector<double>{1, 2, 3, 4, 5, 6}, DType::f32);
  const Tensor there = on_device(x, device_from_string("cuda"));
  CHECK(there.describe() == "(2,3) f32 cuda:0");
  CHECK(there.to_vector<double>() == x.to_vector<double>());
  CHECK_THROWS_WITH_AS(there.data<float>(), doctest::Contains("code of the CPU reads a tensor (2,3) f32 cuda:0"),
                       ContractError);
  CHECK_THROWS_WITH_AS(x + there,
                       doctest::Contains("[add] inputs are on different devices: a (2,3) f32 cpu, b (2,3) f32 cuda:0"),
                       ContractError);
  CHECK_THROWS_WITH_AS(device_from_string("cuda:1"),
                       doctest::Contains("device 'cuda:1' is not there; there are: cpu, cuda:0"), UsageError);
  CHECK(device_from_string("auto") == (cuda::is_emulation() ? Device{} : device));
}
