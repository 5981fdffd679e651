// Against values that PyTorch computed (tools/golden/make_golden.py writes the files).
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "framework/autograd/autograd.h"
#include "framework/io/safetensors.h"
#include "framework/kernels/cpu/copy.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"
#include "framework/ops/registry.h"
#include "framework/optim/adamw.h"
#include "models/gpt/gpt.h"

using namespace gradus;

namespace {

io::SafetensorsFile golden(const std::string& name) {
  return io::read_safetensors(std::string(GRADUS_SOURCE_DIR) + "/tests/golden/" + name);
}

nlohmann::json about(const io::SafetensorsFile& file) { return nlohmann::json::parse(file.metadata.at("golden")); }

Tensor to_dtype(const Tensor& tensor, DType dtype) {
  if (!is_floating(tensor.dtype()) || tensor.dtype() == dtype) return tensor;
  const Tensor converted = Tensor::empty(tensor.shape(), dtype);
  cpu::copy(converted, tensor);
  return converted;
}

double largest(const Tensor& tensor) {
  double result = 0;
  for (double value : tensor.to_vector<double>()) result = std::max(result, std::fabs(value));
  return result;
}

/// Largest difference, NaN included.
double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  double result = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    result = !(std::fabs(x[i] - y[i]) <= result) ? std::fabs(x[i] - y[i]) : result;
  return result;
}

AttributeValue attribute(const nlohmann::json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  return value.get<std::vector<std::int64_t>>();
}

nn::NamedTensors with_prefix(const io::SafetensorsFile& file, const std::string& prefix) {
  nn::NamedTensors found;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(prefix)) found.emplace_back(name.substr(prefix.size()), tensor);
  }
  return found;
}

Tensor loss_of(const Tensor& logits, const Tensor& targets) {
  return cross_entropy(reshape(logits, {targets.numel(), logits.size(2)}), reshape(targets, {targets.numel()}), 0);
}

}  // namespace

TEST_CASE("every op's values and gradients are PyTorch's, in f64 to 1e-12 and in f32 within the record's bound") {
  const io::SafetensorsFile file = golden("ops.safetensors");
  std::set<std::string> covered;
  const nlohmann::json index = about(file);
  for (const nlohmann::json& entry : index.at("cases")) {
    const OpSpec& spec = find_op(entry.at("op"));
    covered.insert(spec.name);
    Attributes attributes;
    for (const auto& [name, value] : entry.at("attributes").items()) attributes.set(name, attribute(value));
    for (DType dtype : {DType::f64, DType::f32}) {
      INFO(spec.name, " ", to_string(attributes), " ", to_string(dtype));
      Tensors inputs, wanted, expected_gradients;
      for (std::size_t i = 0; i < entry.at("inputs").size(); ++i) {
        inputs.push_back(to_dtype(file.find(entry["inputs"][i]), dtype).alias());
        if (entry["gradients"][i].is_null()) continue;
        wanted.push_back(inputs[i].set_requires_grad());
        expected_gradients.push_back(file.find(entry["gradients"][i]));
      }
      const Tensor output = apply(spec, inputs, attributes)[0], expected = file.find(entry.at("output"));
      const OpCall call = make_call(spec, inputs, attributes, SourceLocation::current());
      // In f32 the inputs are rounded before the op: as many roundings again, and a few for its slope.
      const double magnitude =
          std::max(largest(expected), spec.error_model.magnitude ? spec.error_model.magnitude(call, {expected}) : 1.0);
      const double f32_bound = (2 * spec.error_model.roundings(call) + 8) * 0x1p-24 * magnitude;
      CHECK(distance(output, expected) <= (dtype == DType::f64 ? 1e-12 * std::max(1.0, largest(expected)) : f32_bound));
      if (wanted.empty()) continue;
      const Tensors gradients = grad({output}, wanted, {to_dtype(file.find(entry.at("cotangent")), dtype)});
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        const double scale = std::max(1.0, largest(expected_gradients[i]));
        const double bound =
            dtype == DType::f64 ? 1e-12 * scale : 8 * (spec.error_model.roundings(call) + 16) * 0x1p-24 * scale;
        CHECK(distance(gradients[i], expected_gradients[i]) <= bound);
      }
    }
  }
  // Ops of our own (adjoints, copies, random numbers, training steps) have no counterpart there, or their own test.
  const std::set<std::string> without = {"identity",
                                         "clone",
                                         "cast",
                                         "dropout",
                                         "dropout_add",
                                         "dropout_add_layer_norm",
"rotary_embedding",
                                         "equal",
                                         "not_equal",
                                         "less",
                                         "less_equal",
                                         "greater",
                                         "greater_equal",
                                         "unslice",
                                         "sum_to_shape",
                                         "scatter_add",
                                         "embedding_add",
                                         "clip_by_global_norm",
                                         "adamw"};
  for (const OpSpec* spec : all_ops())
    CHECK_MESSAGE(covered.count(spec->name) + without.count(spec->name) == 1, spec->name, " has no golden values");
}

TEST_CASE("a GPT with given weights: logits, loss and every gradient in f64") {
  const io::SafetensorsFile file = golden("gpt.safetensors");
  models::Gpt model(about(file).at("config").get<models::GptConfig>(), 1, DType::f64);
  nn::load_parameters(model, with_prefix(file, "weight."), "gpt.safetensors");
  const Tensor logits = model.forward(file.find("ids"));
  CHECK(distance(logits, file.find("logits")) <= 1e-12 * largest(logits));
  const Tensor loss = loss_of(logits, file.find("targets"));
  CHECK(std::fabs(loss.item() - file.find("loss").item()) <= 1e-12 * loss.item());
  backward(loss);
  for (const auto& [name, parameter] : model.named_parameters()) {
    const Tensor expected = file.find("gradient." + name);
    CHECK_MESSAGE(distance(parameter.gradient(), expected) <= 1e-12 * std::max(largest(expected), 1e-3), name);
  }
}

TEST_CASE("ten steps of AdamW with clipping: losses, norms and final weights in f32") {
  const io::SafetensorsFile file = golden("training.safetensors");
  models::Gpt model(about(file).at("config").get<models::GptConfig>(), 1);
  nn::load_parameters(model, with_prefix(file, "weight."), "training.safetensors");
  optim::AdamW optimizer(model.named_parameters(), {});
  const std::vector<double> losses = file.find("losses").to_vector<double>(),
                            norms = file.find("norms").to_vector<double>(),
                            rates = file.find("rates").to_vector<double>();
  for (std::size_t step = 0; step < losses.size(); ++step) {
    const Tensor loss =
        loss_of(model.forward(file.find(fmt::format("ids.{}", step))), file.find(fmt::format("targets.{}", step)));
    CHECK(std::fabs(loss.item() - losses[step]) <= 1e-5 * losses[step]);
    model.zero_gradients();
    backward(loss);
    const NoGradScope no_grad;
    CHECK(clip_by_global_norm_(optimizer.gradients(), 1.0).item() == doctest::Approx(norms[step]).epsilon(1e-4));
    optimizer.step(rates[step]);
  }
  for (const auto& [name, parameter] : model.named_parameters()) {
    if (name.ends_with("key.bias")) continue;  // its gradient is rounding noise, which AdamW scales up to full steps
    CHECK_MESSAGE(distance(parameter, file.find("final." + name)) <= 2e-4, name);
  }
}
