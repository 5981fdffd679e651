// Work that is recorded on a CUDA device and run again: the bits of work that is not.
#include "framework/kernels/captured_work.h"

#include <doctest/doctest.h>

#include <cmath>

#include "framework/autograd/autograd.h"
#include "framework/kernels/elements.h"
#include "framework/ops/cuda/backend.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/device_memory.h"
#include "framework/train/step.h"
#include "models/gpt/gpt.h"
#include "tests/cuda/parameter_values.h"
#include "tests/messages.h"
#if defined(GRADUS_CUDA_EMULATED)
#include "framework/kernels/cuda/emulation/settings.h"
#endif

using namespace gradus;

namespace {

const Device device{Device::Kind::cuda, 0};

/// Memory is used again as on a device, but where AddressSanitizer shall see each block.
struct Backend {
  Backend() {
    install_cuda();
#if !defined(__SANITIZE_ADDRESS__)
    DeviceMemory memory = device_memory(device);
    memory.caching = true;
    install_device_memory(device.kind, memory);
#endif
  }
};

std::vector<double> ramp(std::int64_t count, double first) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(first + double(i));
  return values;
}

Tensor on_it(const Shape& shape, const std::vector<double>& values) {
  return on_device(from_values(shape, values), device);
}

}  // namespace

TEST_CASE("recorded work does nothing until it runs, and then the same for other values") {
  const Backend backend;
  const Tensor x = Tensor::empty({5}, DType::f32, device), weight = on_it({5}, ramp(5, 1));
  const Tensor sums = zeros({5}, DType::f32, device);
  Generator generator(1);
  Tensor doubled;
  CapturedWork work({x}, generator, [&] {
    doubled = x * 2.0 + weight;
    elements::add(sums, sums, doubled);
  });
  CHECK(sums.to_vector<double>() == std::vector<double>(5, 0));
  work.run({from_values({5}, ramp(5, 10))});
  CHECK(doubled.to_vector<double>() == std::vector<double>{21, 24, 27, 30, 33});
  // What the work computes on the way has memory of its own: it does not write into what others have by now.
  Tensors others;
  for (int i = 0; i < 10; ++i) others.push_back(on_it({5}, ramp(5, 100)));
  work.run({from_values({5}, ramp(5, 0))});
  for (const Tensor& other : others) CHECK(other.to_vector<double>() == ramp(5, 100));
  CHECK(doubled.to_vector<double>() == std::vector<double>{1, 4, 7, 10, 13});
  CHECK(sums.to_vector<double>() == std::vector<double>{22, 28, 34, 40, 46});
}

TEST_CASE("what the host gives to recorded work stays as it was") {
  const Backend backend;
  const Tensor x = Tensor::empty({5}, DType::f32, device);
  Generator generator(1);
  Tensor sum;
  CapturedWork work({x}, generator, [&] { sum = x + on_it({5}, ramp(5, 1)); });
  for (int i = 0; i < 40; ++i) ones({1 << 16}, DType::f32, Device{}).move_to(device);  // more uploads than wait at once
  work.run({from_values({5}, ramp(5, 0))});
  CHECK(sum.to_vector<double>() == std::vector<double>{1, 3, 5, 7, 9});
}

TEST_CASE("updates that are gathered are those of each by itself") {
  const Backend backend;
  const auto train = [](bool together) {
    std::vector<double> all;
    Tensors parameters;
    std::unique_ptr<JointUpdates> joint;
    if (together) joint = std::make_unique<JointUpdates>();
    for (int i = 0; i < 4; ++i) {
      const DType dtype = i == 2 ? DType::f64 : DType::f32;
      const auto tensor = [&](double first) { return on_device(from_values({5}, ramp(5, first), dtype), device); };
      parameters.push_back(tensor(i));
      adamw_step_(parameters.back(), tensor(i - 2), tensor(1), tensor(2),
                  {.learning_rate = i < 3 ? 0.1 : 0.2, .weight_decay = 0.1 * i, .step = 3});
    }
    if (joint) joint->finish();
    for (const Tensor& parameter : parameters) {
      for (const double value : parameter.to_vector<double>()) all.push_back(value);
    }
    return all;
  };
  CHECK(train(true) == train(false));
}

TEST_CASE("random streams go on from run to run as they do without a recording") {
  const Backend backend;
  Generator recorded(7, 100), plain(7, 100);
  const auto drop = [](const Tensor& x, Generator& generator) {
    return dropout(dropout(x, 0.5, generator), 0.2, generator);
  };
  const Tensor x = Tensor::empty({64}, DType::f32, device), values = ones({64});
  Tensor result;
  CapturedWork work({x}, recorded, [&] { result = drop(x, recorded); });
  CHECK(recorded.next_stream() == 100);
  for (int run = 0; run < 3; ++run) {
    work.run({values});
    CHECK(result.to_vector<double>() == drop(values, plain).to_vector<double>());
    CHECK(recorded.next_stream() == plain.next_stream());
  }
}

TEST_CASE("what cannot be recorded is refused, and what comes after is as ever") {
  const Backend backend;
  const Tensor x = Tensor::empty({3}, DType::f32, device), table = on_it({4, 2}, ramp(8, 0));
  const Tensor ids = Tensor::empty({3}, DType::i64, device);
  Generator generator(1), other(2);
  const auto message = [&](const std::function<void()>& body) {
    return message_of<std::runtime_error>([&] { CapturedWork({x, ids}, generator, body); });
  };
  CHECK(has(message([&] { x.to_vector<double>(); }), "values of a CUDA device are read in a step that is recorded"));
  CHECK(has(message([&] { synchronize(device); }), "a CUDA device is waited for in a step that is recorded"));
  CHECK(has(message([&] { empty_cache(device); }), "given back while work is recorded"));
  CHECK(has(message([&] { random_normal({2}, generator); }), "random numbers of the host would be the same"));
  CHECK(has(message([&] { other.take_stream(); }), "draws random streams from one generator alone"));
  CHECK(has(message([&] { embedding(table, argmax(reshape(table, {2, 4}), 1)); }), "indices are inputs"));
  CHECK(has(message([&] { CapturedWork({x}, generator, [] {}); }), "inside another one"));
  CHECK(has(message_of<std::runtime_error>([&] { CapturedWork({ones({1})}, generator, [] {}); }), "work of the CPU"));
  CHECK(generator.next_stream() == 0);
  CHECK((on_it({2}, {1, 2}) * 2.0).to_vector<double>() == std::vector<double>{2, 4});
}

TEST_CASE("indices are checked when their values come, and nothing runs then") {
  const Backend backend;
  const Tensor ids = Tensor::empty({2, 2}, DType::i64, device), table = on_it({4, 1}, ramp(4, 0));
  Generator generator(1);
  Tensor rows;
  CapturedWork work({ids}, generator, [&] { rows = embedding(table, ids); });
  work.run({from_values({2, 2}, std::vector<std::int64_t>{3, 0, 1, 1})});
  CHECK(rows.to_vector<double>() == std::vector<double>{3, 0, 1, 1});
  CHECK(message_of<std::runtime_error>([&] {
          work.run({from_values({2, 2}, std::vector<std::int64_t>{0, 0, 4, 0})});
        }) == "input 0 of recorded work: index 4 at position 2 is outside 0..3");
  CHECK(has(message_of<std::runtime_error>([&] {
              work.run({from_values({4}, std::vector<std::int64_t>{0, 0, 0, 0})});
            }),
            "input 0 of recorded work is (2,2) i64 cuda:0, not (4) i64 cpu"));
  CHECK(has(message_of<std::runtime_error>([&] { work.run({}); }), "has 1 inputs, 0 values"));
  CHECK(rows.to_vector<double>() == std::vector<double>{3, 0, 1, 1});
}

namespace {

const models::GptConfig config{
    .vocabulary_size = 13, .block_size = 8, .layers = 2, .heads = 2, .width = 8, .dropout = {0.1, 0.1, 0.1}};

data::Batch batch_of(std::int64_t number, std::int64_t rows = 3) {
  Generator generator(5, static_cast<std::uint64_t>(2 * number));
  const Tensor inputs = random_integers({rows, 8}, generator, 1, 12),
               targets = random_integers({rows, 8}, generator, 0, 12);
  return {.inputs = inputs, .targets = targets, .lengths = {}, .predicted = rows * 8, .counted_tokens = rows * 8};
}

/// A model that trains on the device.
struct Run {
  Run(DType dtype, bool graph)
      : model(config, 3, dtype),
        optimizer((model.to(device), model.named_parameters()), {}),
        step(model, model.generator(), optimizer, [this](const data::Batch& batch) { return loss(batch); },
             {.clip_norm = 0.5, .graph = graph}) {}

  Tensor loss(const data::Batch& batch) {
    const Tensor logits = model.forward(batch.inputs);
    return cross_entropy(reshape(logits, {batch.inputs.numel(), 13}), reshape(batch.targets, {batch.targets.numel()}),
                         0);
  }
  train::StepResult take(const data::Batch& batch, double rate) {
    step.begin(batch, rate);
    return step.finish();
  }
  std::vector<double> parameters() const { return parameter_values(model); }

  models::Gpt model;
  optim::AdamW optimizer;
  train::TrainingStep step;
};

void check_same_bits(DType dtype) {
  CAPTURE(to_string(dtype));
  Run graph(dtype, true), eager(dtype, false);
  for (int number = 0; number < 5; ++number) {
    CAPTURE(number);
    const data::Batch batch = batch_of(number, number == 3 ? 2 : 3);  // one of another shape in between
    const double rate = 0.01 / (1 + number);
    const train::StepResult one = graph.take(batch, rate), other = eager.take(batch, rate);
    CHECK(one.loss == other.loss);
    CHECK(one.gradient_norm == other.gradient_norm);
    CHECK(graph.step.ran_as_graph() == (number > 0 && number != 3));
    CHECK_FALSE(eager.step.ran_as_graph());
    CHECK(graph.optimizer.step_count() == number + 1);
    CHECK(graph.model.generator().next_stream() == eager.model.generator().next_stream());
  }
  CHECK(graph.parameters() == eager.parameters());
}

}  // namespace

TEST_CASE("training steps as a graph: the bits of steps without") {
  const Backend backend;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) check_same_bits(dtype);
}

#if defined(GRADUS_CUDA_EMULATED)
TEST_CASE("the same where nothing runs before someone waits") {
  const Backend backend;
  const cuda::emulation::SettingsScope deferred{{.deferred = true}};
  check_same_bits(DType::f32);
}
#endif

TEST_CASE("with recomputation too") {
  const Backend backend;
  Run graph(DType::f32, true), eager(DType::f32, false);
  graph.model.set_recompute(true);
  for (int number = 0; number < 3; ++number) {
    CHECK(graph.take(batch_of(number), 0.01).loss == eager.take(batch_of(number), 0.01).loss);
  }
  CHECK(graph.step.ran_as_graph());
  CHECK(graph.parameters() == eager.parameters());
}

TEST_CASE("a step whose loss is not finite changes nothing") {
  const Backend backend;
  Run run(DType::f32, true);
  for (int number = 0; number < 2; ++number) run.take(batch_of(number), 0.01);
  const Tensor weight = run.model.parameters().back();
  const Tensor kept = elements::clone(weight);
  elements::fill(weight, NAN);
  const std::vector<double> before = run.parameters();
  const train::StepResult result = run.take(batch_of(2), 0.01);
  CHECK(run.step.ran_as_graph());
  CHECK(std::isnan(result.loss));
  CHECK(run.optimizer.step_count() == 2);
  const std::vector<double> after = run.parameters();
  for (std::size_t i = 0; i < before.size(); ++i) CHECK((after[i] == before[i] || std::isnan(before[i])));
  elements::copy(weight, kept);
  CHECK(std::isfinite(run.take(batch_of(2), 0.01).loss));  // and the next one is as ever
  CHECK(run.optimizer.step_count() == 3);
}
