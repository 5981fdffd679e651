// A whole model trained and asked on a CUDA device: the numbers of the CPU, the same bits in every run.
#include <doctest/doctest.h>

#include <cmath>

#include "framework/autograd/autograd.h"
#include "framework/nn/module.h"
#include "framework/ops/cuda/backend.h"
#include "framework/ops/ops.h"
#include "framework/optim/adamw.h"
#include "framework/tensor/creation.h"
#include "framework/train/checkpoint.h"
#include "models/gpt/gpt.h"
#include "tests/cuda/parameter_values.h"
#include "tests/temporary_folder.h"

using namespace gradus;

namespace {

const models::GptConfig config{
    .vocabulary_size = 13, .block_size = 8, .layers = 2, .heads = 2, .width = 8, .dropout = {0.1, 0.1, 0.1}};
const Device device{Device::Kind::cuda, 0};

/// A model, its optimizer, and ragged batches that follow from the number of the step.
struct Run {
  Run(Device where, DType dtype)
      : model(config, 3, dtype), optimizer((model.to(where), model.named_parameters()), {}) {}

  double step(std::int64_t number) {
    StreamReader draw(4, static_cast<std::uint64_t>(number));
    models::Lengths lengths;
    std::vector<std::int64_t> ids, targets;
    for (int sequence = 0; sequence < 3; ++sequence) {
      lengths.push_back(draw.next_integer(1, config.block_size));
      for (std::int64_t i = 0; i < lengths.back(); ++i) {
        ids.push_back(draw.next_integer(1, 12));
        targets.push_back(draw.next_integer(0, 12));  // 0 is not predicted
      }
    }
    const auto count = static_cast<std::int64_t>(ids.size());
    const Tensor logits = model.forward(on_device(from_values({1, count}, ids), model.device()), lengths);
    const Tensor loss =
        cross_entropy(reshape(logits, {count, 13}), on_device(from_values({count}, targets), model.device()), 0);
    model.zero_gradients();
    backward(loss);
    {
      const NoGradScope no_grad;
      clip_by_global_norm_(optimizer.gradients(), 1.0);
    }
    optimizer.step(0.01);
    return loss.item();
  }

  std::vector<double> parameters() const { return parameter_values(model); }

  models::Gpt model;
  optim::AdamW optimizer;
};

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::fabs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

}  // namespace

TEST_CASE("steps on the device are those of the CPU") {
  install_cuda();
  Run there(device, DType::f64), here({}, DType::f64);
  for (int step = 0; step < 3; ++step) CHECK(std::fabs(there.step(step) - here.step(step)) <= 1e-12);
  CHECK(largest_difference(there.parameters(), here.parameters()) <= 1e-10);
}

TEST_CASE("in bf16 they are as close as bf16 is to itself") {
  install_cuda();
  Run there(device, DType::bf16), here({}, DType::bf16);
  for (int step = 0; step < 3; ++step) CHECK(std::fabs(there.step(step) - here.step(step)) <= 0.02);
}

TEST_CASE("the same seed gives the same bits, and so does a run that is saved and taken up again") {
  install_cuda();
  const TemporaryFolder folder;
  const std::string path = folder / "checkpoint";
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Run whole(device, dtype), first(device, dtype), second(device, dtype);
    for (int step = 0; step < 4; ++step) whole.step(step);
    for (int step = 0; step < 2; ++step) first.step(step);
    train::save_checkpoint(path, first.model, first.optimizer, first.model.generator(), {.step = 2}, {});
    train::load_checkpoint(path, second.model, second.optimizer, second.model.generator(), {});
    for (int step = 2; step < 4; ++step) second.step(step);
    CHECK(whole.parameters() == second.parameters());
  }
}

TEST_CASE("a checkpoint of the CPU goes on on the device") {
  install_cuda();
  const TemporaryFolder folder;
  const std::string path = folder / "checkpoint";
  Run here({}, DType::f64), there(device, DType::f64);
  here.step(0);
  train::save_checkpoint(path, here.model, here.optimizer, here.model.generator(), {.step = 1}, {});
  train::load_checkpoint(path, there.model, there.optimizer, there.model.generator(), {});
  CHECK(std::fabs(there.step(1) - here.step(1)) <= 1e-12);
}

TEST_CASE("decoding with a cache on the device") {
  install_cuda();
  Run there(device, DType::f32), here({}, DType::f32);
  models::KeyValueCache cache;
  const NoGradScope no_grad;
  std::vector<std::int64_t> ids = {1, 5, 2, 5, 7, 3};
  there.model.set_training(false), here.model.set_training(false);
  const auto given = [&](std::size_t first, std::size_t end) {
    return from_values({1, static_cast<std::int64_t>(end - first)},
                       std::vector<std::int64_t>(ids.begin() + first, ids.begin() + end));
  };
  there.model.decode(on_device(given(0, 3), device), cache);
  for (std::size_t i = 3; i < ids.size(); ++i) {
    const Tensor step = there.model.decode(on_device(given(i, i + 1), device), cache);
    const Tensor all = here.model.forward(given(0, i + 1));
    const std::int64_t last = static_cast<std::int64_t>(i);
    CHECK(largest_difference(step.to_vector<double>(), slice(all, 1, last, last + 1).to_vector<double>()) <= 1e-5);
  }
}

TEST_CASE("the other variants: steps and cached decoding on the device are the CPU's") {
  install_cuda();
  for (const std::string& name : models::variant_names()) {
    CAPTURE(name);
    models::GptConfig of_variant = config;
    of_variant.variant = models::variant_from_string(name);
    of_variant.block_size = 9;
    if (of_variant.is_perceiver()) {
      of_variant.layers = 3;
      of_variant.latents = 5;
    }
    const auto trained = [&](Device where) {
      models::Gpt model(of_variant, 3, DType::f64);
      model.to(where);
      optim::AdamW optimizer(model.named_parameters(), {});
      std::vector<double> numbers;
      Generator generator(8);
      for (int step = 0; step < 3; ++step) {
        const Tensor ids = on_device(random_integers({2, 8}, generator, 1, 12), where);
        const Tensor targets = on_device(random_integers({16}, generator, 0, 12), where);
        const Tensor loss = cross_entropy(reshape(model.forward(ids), {16, 13}), targets, 0);
        model.zero_gradients();
        backward(loss);
        optimizer.step(0.01);
        numbers.push_back(loss.item());
      }
      model.set_training(false);
      models::KeyValueCache cache;
      const Tensor ids = random_integers({2, 8}, generator, 1, 12);
      for (std::int64_t first = 0; first < 8; first = first == 0 ? 4 : first + 1) {
        const Tensor logits = model.decode(on_device(slice(ids, 1, first, first == 0 ? 4 : first + 1), where), cache);
        for (const double value : logits.to_vector<double>()) numbers.push_back(value);
      }
      return numbers;
    };
    CHECK(largest_difference(trained(device), trained({})) <= 1e-10);
  }
}

TEST_CASE("a model moves as a whole, and ids that stay behind are named") {
  install_cuda();
  Run there(device, DType::f32);
  for (const Tensor& parameter : there.model.parameters()) CHECK(parameter.device() == device);
  CHECK_THROWS_WITH_AS(
      there.model.forward(from_values({1, 2}, std::vector<std::int64_t>{1, 2})),
      doctest::Contains("[embedding] inputs are on different devices: weight (13,8) f32 cuda:0, ids (1,2) i64 cpu"),
      ContractError);
  there.step(0);
  there.model.to({});
  for (const Tensor& parameter : there.model.parameters()) {
    CHECK(parameter.device() == Device{});
    CHECK_FALSE(parameter.gradient().defined());
  }
  CHECK_THROWS_WITH_AS(sum(there.model.parameters()[0]).move_to(device),
                       doctest::Contains("that came from an op cannot move"), ContractError);
}
