// Damaged backwards must be rejected, whatever the size of the cotangent.
#include <doctest/doctest.h>

#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"
#include "framework/ops/registry.h"
#include "framework/autograd/autograd.h"
#include "framework/testing/gradcheck.h"
#include "framework/testing/mutants.h"

using namespace gradus;
using testing::Mutant;

namespace {

/// The right gradients, to ask which mutants change anything.
Tensors right_gradients(const OpSpec& spec, const Sample& sample) {
  Tensors leaves, wanted, reached, upstream;
  const std::vector<bool> needs = testing::differentiable_inputs(spec, sample.inputs);
  for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
    leaves.push_back(sample.inputs[i].defined() ? sample.inputs[i].detach() : Tensor());
    if (needs[i]) wanted.push_back(leaves[i].set_requires_grad());
  }
  Generator generator(5);
  for (const Tensor& output : apply(spec, leaves, sample.attributes)) {
    if (!output.requires_grad()) continue;
    reached.push_back(output);
    upstream.push_back(random_normal(output.shape(), generator, output.dtype()));
  }
  return grad(reached, wanted, upstream);
}

}  // namespace

TEST_CASE("gradcheck rejects every mutant of every kind of op, at cotangent scale 1 and 1e-6") {
  int rejected = 0;
  for (const char* name : {"mul", "add", "tanh", "gelu", "relu", "sum", "var", "softmax", "log_softmax", "layer_norm", "matmul", "linear", "embedding",
                           "concat", "gather", "scaled_dot_product_attention", "cross_entropy", "dropout", "masked_fill", "permute"}) {
    const OpSpec& spec = find_op(name);
    SampleMaker make(7);
    const Sample sample = spec.samples(make)[0];
    const Tensors gradients = right_gradients(spec, sample);
    for (const Mutant& mutant : testing::all_mutants()) {
      if (!mutant.applies(gradients)) continue;
      // A change that leaves these gradients as they are (the mean of softmax's gradient is 0 already) is no mutant of this op.
      Tensors damaged = gradients;
      mutant.damage(damaged);
      double change = 0;
      for (std::size_t i = 0; i < gradients.size(); ++i) {
        const std::vector<double> a = gradients[i].to_vector<double>(), b = damaged[i].to_vector<double>();
        double scale = 0;
        for (double value : a) scale = std::max(scale, std::fabs(value));
        for (std::size_t e = 0; e < a.size(); ++e) change = !(std::fabs(a[e] - b[e]) <= change * scale) ? std::fabs(a[e] - b[e]) / scale : change;
      }
      if (change < 1e-6) continue;
      static std::vector<std::unique_ptr<OpSpec>> kept;  // records outlive their tapes
      kept.push_back(std::make_unique<OpSpec>(testing::mutate(spec, mutant)));
      for (double scale : {1.0, 1e-6}) {
        testing::CheckOptions options;
        options.cotangent_scale = scale;
        const testing::CheckReport report = testing::check(*kept.back(), sample, options);
        CHECK_MESSAGE(!report.passed(), name, ": the mutant '", mutant.name, "' passed at scale ", scale, "\n", to_text(report));
        ++rejected;
      }
    }
  }
  CHECK(rejected > 400);
}

TEST_CASE("the right op passes where its mutants fail") {
  for (double scale : {1.0, 1e-6}) {
    testing::CheckOptions options;
    options.cotangent_scale = scale;
    SampleMaker make(7);
    CHECK(testing::check(softmax_op(), softmax_op().samples(make)[0], options).passed());
  }
}

TEST_CASE("a NaN never passes") {
  OpSpec spec = mul_op();
  static OpSpec broken;
  broken = spec;
  broken.backward_composite = [](BackwardCall& call) {
    for (std::size_t i : {0, 1}) call.set_gradient(i, full(call.input_spec(i).shape, NAN, DType::f64));
  };
  SampleMaker make(7);
  CHECK_FALSE(testing::check(broken, spec.samples(make)[0]).passed());
}

TEST_CASE("a wrong shape, dtype or number of gradients names op and input") {
  static OpSpec broken;
  broken = mul_op();
  const Tensor a = random_normal({2, 3}, *std::make_unique<Generator>(1), DType::f64).set_requires_grad();
  const auto message = [&] {
    const Tensor y = apply(broken, {a, ones({2, 3}, DType::f64)})[0];
    try {
      backward(sum(y));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  broken.backward_composite = [](BackwardCall& call) { call.set_gradient(0, ones({2, 4}, DType::f64)); };
  CHECK(message().find("[mul] backward gave input 'a' a gradient of shape (2,4), the input has (2,3)") == 0);
  broken.backward_composite = [](BackwardCall& call) { call.set_gradient(0, ones({2, 3}, DType::f32)); };
  CHECK(message().find("[mul] backward gave input 'a' a gradient of dtype f32, the input has f64") == 0);
}
