// recompute(): the bits of an ordinary run, less memory, and everything that works on the tape.
#include "framework/autograd/recompute.h"

#include <doctest/doctest.h>

#include <cmath>

#include "framework/autograd/autograd.h"
#include "framework/nn/layers.h"
#include "framework/ops/ops.h"
#include "framework/tensor/creation.h"
#include "framework/tensor/memory.h"
#include "tests/messages.h"

using namespace gradus;

namespace {

using Body = std::function<Tensors(const Tensors&)>;
using Numbers = std::vector<double>;

Tensor leaf(const Shape& shape, const Numbers& values, DType dtype = DType::f64) {
  return from_values(shape, values, dtype).set_requires_grad();
}

Tensors call(const Body& body, const Tensors& inputs, bool again) {
  return again ? recompute(body, inputs) : body(inputs);
}

Numbers values_of(const Tensor& tensor) { return tensor.defined() ? tensor.to_vector<double>() : Numbers{}; }

/// Two layers with dropout between, whose parameters are used outside as well.
struct Network {
  explicit Network(DType dtype) : generator(7), maker(3) {
    const auto made = [&](const Shape& shape) {
      return random_normal(shape, maker, dtype, 0, 0.5).set_requires_grad();
    };
    x = made({5, 6}), first = made({6, 6}), second = made({6, 6}), gain = made({6}), bias = made({6});
  }
  Tensor layers(const Tensor& input) {
    const Tensor hidden = dropout(gelu(linear(layer_norm(input, gain, bias), first, bias)), 0.3, generator);
    return input + dropout(linear(hidden, second, bias), 0.3, generator);
  }
  /// The loss and all gradients, element by element, and the place of the generator.
  std::vector<Numbers> run(bool again) {
    const Body body = [this](const Tensors& inputs) { return Tensors{layers(inputs[0])}; };
    const Tensor before = linear(x, first, bias);
    const Tensor middle = call(body, {before}, again)[0];
    const Tensor loss = sum(call(body, {linear(middle, second, bias)}, again)[0] * gain);
    generator.take_stream();
    backward(loss);
    std::vector<Numbers> all = {values_of(loss), {double(generator.next_stream())}};
    for (const Tensor& parameter : {x, first, second, gain, bias}) all.push_back(values_of(parameter.gradient()));
    return all;
  }

  Generator generator, maker;
  Tensor x, first, second, gain, bias;
};

}  // namespace

TEST_CASE("recompute: loss, gradients and random streams have the bits of an ordinary run") {
  for (const DType dtype : {DType::f32, DType::f64}) CHECK(Network(dtype).run(true) == Network(dtype).run(false));
}

TEST_CASE("recompute: the body's tensors are let go after forward, and made again for one backward at a time") {
  const std::int64_t size = 1 << 16, alive = live_tensor_count();
  {
    const Tensor x = random_uniform({size}, *std::make_unique<Generator>(1), DType::f32).set_requires_grad();
    int runs = 0;
    const Body body = [&](const Tensors& inputs) {
      ++runs;
      return Tensors{sqrt(sqrt(sqrt(sqrt(inputs[0]))))};  // each keeps its output
    };
    const auto kept = [&](bool again) {
      const std::int64_t before = memory_statistics().bytes_in_use;
      const auto tensors = [&] { return (memory_statistics().bytes_in_use - before) / (4 * size); };
      std::int64_t in_backward = 0;
      const auto look = [&](const Tensor&) { return in_backward = tensors(), Tensor(); };
      Tensor y = call(body, {x}, again)[0];
      register_hook(y, look);
      y = call(body, call(body, {y}, again), again)[0];
      Tensor loss = sum(y);
      y = {};
      const std::int64_t after_forward = tensors();
      backward(loss);
      x.set_gradient({});
      return std::pair(after_forward, in_backward);
    };
    CHECK(kept(false) == std::pair<std::int64_t, std::int64_t>(12, 5));  // the first body's tensors, a gradient
    CHECK(runs == 3);
    CHECK(kept(true) == std::pair<std::int64_t, std::int64_t>(2, 1));  // two bodies' inputs; a gradient
    CHECK(runs == 9);
    CHECK(live_tensor_count() == alive + 1);
  }
  CHECK(live_tensor_count() == alive);
}

TEST_CASE("recompute: several inputs and outputs, some of them without a gradient or unused") {
  for (const bool use_second : {false, true}) {
    std::vector<Numbers> results[2];
    for (const bool again : {false, true}) {
      const Tensor a = leaf({2}, {1, 2}), b = leaf({2}, {3, 4}), unused = leaf({2}, {1, 1});
      const Tensor places = from_values({2}, std::vector<std::int64_t>{1, 0}),
                   plain = from_values({2}, Numbers{5, 6}, DType::f64);
      const Body body = [](const Tensors& inputs) -> Tensors {
        CHECK_FALSE(inputs[4].defined());
        const Tensor product = inputs[0] * exp(inputs[1]);
        return {product * product, embedding(reshape(product * inputs[3], {2, 1}), inputs[2]), inputs[5]};
      };
      const Tensors outputs = call(body, {a, b, places, plain, Tensor(), unused}, again);
      CHECK(outputs[2].is_same(unused));
      backward(sum(use_second ? outputs[1] : outputs[0]));
      results[again] = {values_of(a.gradient()), values_of(b.gradient())};
      CHECK_FALSE(unused.gradient().defined());
    }
    CHECK(results[0] == results[1]);
  }
}

TEST_CASE("recompute: parameters get gradients although no input has one") {
  const Tensor weight = leaf({2}, {3, 4}), data = from_values({2}, Numbers{1, 2}, DType::f64);
  backward(sum(recompute([&](const Tensor& x) { return exp(x * weight); }, data)));
  CHECK(values_of(weight.gradient()) == Numbers{std::exp(3.0), 2 * std::exp(8.0)});
}

TEST_CASE("recompute: without recording, or without a backward, the body runs once") {
  int runs = 0;
  const auto body = [&](const Tensor& x) { return ++runs, x * x; };
  const Tensor x = leaf({}, {3});
  {
    const NoGradScope no_grad;
    CHECK_FALSE(recompute(body, x).requires_grad());
  }
  CHECK(runs == 1);
  CHECK_FALSE(recompute(body, x.detach()).requires_grad());
  CHECK(recompute(body, x).item() == 9);
  CHECK(runs == 3);
}

TEST_CASE("recompute: grad() of inputs, parameters and tensors within") {
  for (const bool again : {false, true}) {
    const Tensor x = leaf({}, {3}), weight = leaf({}, {2});
    Tensor within;
    const Tensors outputs = call(
        [&](const Tensors& inputs) {
          const Tensor product = inputs[0] * weight;
          if (!recomputing()) within = product;
          return Tensors{product * product};
        },
        {x}, again);
    const Tensors found = grad(outputs, {x, weight, within});
    CHECK(found[0].item() == 24);
    CHECK(found[1].item() == 36);
    CHECK(found[2].item() == 12);
    CHECK_FALSE(x.gradient().defined());
  }
}

TEST_CASE("recompute: a retained tape can be walked again, a used one says so") {
  int runs = 0;
  const Tensor x = leaf({}, {3});
  const Tensor y = recompute([&](const Tensor& t) { return ++runs, (t * 1.0) * t; }, x);
  backward(y, {}, {.retain_graph = true});
  backward(y);
  CHECK(x.gradient().item() == 12);
  CHECK(runs == 2);
  CHECK(has(message_of<ContractError>([&] { backward(y); }), "[mul] the tape of the op at tests/recompute_test.cpp:"));
}

TEST_CASE("recompute: derivatives of derivatives, with the bits of an ordinary run") {
  std::vector<Numbers> results[2];
  for (const bool again : {false, true}) {
    const Tensor x = leaf({1, 3}, {0.3, -0.2, 0.9}), gain = leaf({3}, {1, 2, 3}), bias = leaf({3}, {0, 0.1, 0});
    const Tensor y = call(
        [&](const Tensors& in) { return Tensors{exp(pow(layer_norm(tanh(in[0]), gain, bias), 3.0))}; }, {x}, again)[0];
    const Tensors first = grad({sum(y)}, {x, gain}, {}, {.create_graph = true});
    CHECK(first[0].requires_grad());
    for (const Tensor& second : grad({sum(first[0] * first[0]) + sum(first[1])}, {x, gain, bias})) {
      results[again].push_back(values_of(second));
    }
  }
  CHECK(results[0] == results[1]);
}

TEST_CASE("recompute: within a recompute") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    std::vector<Numbers> results[2];
    int inner_runs = 0;
    for (const bool again : {false, true}) {
      Network network(dtype);
      inner_runs = 0;
      const Body inner = [&](const Tensors& inputs) {
        ++inner_runs;
        return Tensors{network.layers(inputs[0])};
      };
      const Body outer = [&](const Tensors& inputs) {
        const Tensors half = call(inner, {network.layers(inputs[0])}, again);
        return call(inner, {tanh(half[0])}, again);
      };
      const Tensor loss = sum(call(outer, call(outer, {network.x}, again), again)[0]);
      backward(loss);
      results[again] = {values_of(loss), {double(network.generator.next_stream())}};
      for (const Tensor& parameter : {network.x, network.first, network.gain}) {
        results[again].push_back(values_of(parameter.gradient()));
      }
    }
    CHECK(results[0] == results[1]);
    CHECK(inner_runs == 12);  // four calls: forward, in the outer second run, in the inner one
  }
}

TEST_CASE("recompute: hooks see each gradient once") {
  std::vector<Numbers> seen[2];
  for (const bool again : {false, true}) {
    const Tensor x = leaf({}, {3}), weight = leaf({}, {2});
    const auto watch = [&](const Tensor& tensor, double factor) {
      register_hook(tensor, [&seen, again, factor](const Tensor& g) {
        seen[again].push_back(values_of(g));
        return g * factor;
      });
    };
    watch(weight, 1);
    const Tensor y = call(
        [&](const Tensors& inputs) {
          const Tensor product = inputs[0] * weight;
          watch(product, 10);
          return Tensors{product * product * weight};
        },
        {x}, again)[0];
    watch(y, 0.5);
    backward(y);
    seen[again].push_back(values_of(x.gradient()));
    seen[again].push_back(values_of(weight.gradient()));
  }
  CHECK(seen[0].size() == 5);
  CHECK(seen[0] == seen[1]);
}

namespace {

struct Squarer : nn::Module {
  Tensor forward(const Tensor& x) const { return tanh(x) * tanh(x); }
};
struct Outer : nn::Module {
  Squarer inner;
  Outer() { register_module("inner", inner); }
  Tensor forward(const Tensor& x) const { return exp(run(inner, x)); }
  Tensor apply(const Tensor& x, bool again) const {
    const auto body = [this](const Tensor& input) { return forward(input); };
    return again ? recompute(body, x) : body(x);
  }
};

}  // namespace

TEST_CASE("recompute: forward hooks run once, and may compute with what they see") {
  Numbers results[2];
  for (const bool again : {false, true}) {
    Outer outer;
    Tensor penalty = scalar(0, DType::f64);
    int calls = 0;
    outer.inner.register_forward_hook([&](const nn::Module&, const Tensor& output) {
      ++calls;
      penalty = penalty + sum(output * output);
    });
    const Tensor x = leaf({2}, {0.5, 2});
    backward(sum(outer.apply(x, again)) + penalty);
    CHECK(calls == 1);
    results[again] = values_of(x.gradient());
  }
  CHECK(results[0] == results[1]);
}

TEST_CASE("recompute: errors and anomalies name line and module as ever") {
  std::string texts[2][2];
  for (const bool again : {false, true}) {
    Outer outer;
    const ModuleScope scope("blocks");
    const AnomalyScope anomaly;
    const Tensor x = leaf({}, {1});
    texts[again][0] = message_of<NumericError>([&] { outer.apply(x * 1e300 * 1e300, again); });
    const Tensor y = outer.apply(x, again);
    texts[again][1] = message_of<NumericError>([&] { backward(y, scalar(INFINITY, DType::f64)); });
    CHECK(has(texts[again][1], "the gradient of input 'x' of [exp] at tests/recompute_test.cpp:"));
    CHECK(has(texts[again][1], "in blocks"));
  }
  CHECK(texts[0][0] == texts[1][0]);
  CHECK(texts[0][1] == texts[1][1]);
}

TEST_CASE("recompute: what fails in the second run only names the module, and can be tried again") {
  Outer outer;
  bool broken = false;
  const Tensor x = leaf({2}, {0.5, 2});
  const auto body = [&](const Tensor& input) {
    if (broken) CHECK(*current_module_path() == "blocks.3");
    return broken ? reshape(outer.forward(input), {3}) : outer.forward(input);
  };
  Tensor y;
  {
    const ModuleScope blocks("blocks"), third("3");
    y = sum(recompute(body, x));
  }
  broken = true;
  CHECK(has(message_of<ContractError>([&] { backward(y); }), "[reshape]"));
  CHECK(current_module_path() == nullptr);
  CHECK(grad_enabled());
  CHECK_FALSE(recomputing());
  broken = false;
  backward(y);
  const Numbers gradient = values_of(x.gradient());
  x.set_gradient({});
  backward(sum(outer.forward(x)));
  CHECK(gradient == values_of(x.gradient()));
}

TEST_CASE("recompute: a body that computes something else the second time is refused") {
  const Tensor x = leaf({4}, {1, 2, 3, 4});
  Generator generator(1);
  int kind = 0;
  const auto refusal = [&](int second_kind, const std::function<Tensor(const Tensor&)>& body) {
    kind = 0;
    const Tensor y = sum(recompute(body, x));
    kind = second_kind;
    return message_of<ContractError>([&] { backward(y); });
  };
  const auto streams = [&](const Tensor& t) {
    for (int i = 0; i < 2 + kind; ++i) generator.take_stream();
    return exp(t);
  };
  CHECK(has(refusal(1, streams), "it drew other random streams"));
  CHECK(has(refusal(-1, streams), "[recompute] the body at tests/recompute_test.cpp:"));
  Generator other(2);
  CHECK(has(refusal(1, [&](const Tensor& t) { return dropout(sqrt(t), 0.5, kind ? other : generator); }),
            "it drew other random streams"));
  const auto tensors = [&](const Tensor& t) {
    Tensor y = sqrt(t);
    for (int i = 0; i < 2 + kind; ++i) y = sqrt(y);
    return y;
  };
  CHECK(has(refusal(1, tensors), "its ops kept 3 tensors for backward at first, more now"));
  CHECK(has(refusal(-2, tensors), "its ops kept 3 tensors for backward at first, 1 now"));
  CHECK(has(refusal(1, [&](const Tensor& t) { return sqrt(kind ? slice(t, 0, 0, 2) : t); }),
            "tensor 1 of those that its ops keep for backward was (4) f64 at first, (2) f64 now"));
  CHECK(refusal(0, tensors) == "no error");
}

TEST_CASE("recompute: a tensor that is written to before backward is reported") {
  const auto refusal = [&](int which) {
    const Tensor x = leaf({}, {2}), weight = leaf({}, {3}), constant = scalar(5, DType::f64);
    const Tensor input = x * 1.0;
    const Tensor y = recompute([&](const Tensor& t) { return t * weight * constant; }, input);
    const Tensor written[] = {input, weight, constant};
    written[which].mutable_data<double>()[0] = 7;
    return message_of<ContractError>([&] { backward(y); });
  };
  CHECK(has(refusal(0), "[recompute] input 0 was saved for backward by the op at tests/recompute_test.cpp:"));
  CHECK(has(refusal(1), "[mul] input 'b' was saved for backward by the op at tests/recompute_test.cpp:"));
  CHECK(has(refusal(2), "modified in place at tests/recompute_test.cpp:"));
}

TEST_CASE("recompute: a long chain is walked and torn down without recursion") {
  const std::int64_t alive = live_tensor_count();
  for (const bool walk : {true, false}) {
    const Tensor x = leaf({}, {1});
    Tensor y = x;
    for (int i = 0; i < 20000; ++i) y = recompute([](const Tensor& t) { return t * 1.0 * 1.0; }, y);
    if (walk) {
      backward(y);
      CHECK(x.gradient().item() == 1);
    }
  }
  CHECK(live_tensor_count() == alive);
}
