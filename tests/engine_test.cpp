// The tape and the walk back over it.
#include <doctest/doctest.h>

#include <cmath>

#include "framework/autograd/autograd.h"
#include "framework/nn/layers.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"
#include "tests/messages.h"

using namespace gradus;

namespace {

Tensor leaf(const Shape& shape, const std::vector<double>& values) { return from_values(shape, values, DType::f64).set_requires_grad(); }

}  // namespace

TEST_CASE("a graph of 100,000 ops is walked and torn down without recursion") {
  const std::int64_t alive = live_tensor_count();
  {
    const Tensor x = leaf({}, {1});
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = y + 0.5;
    backward(y);
    CHECK(y.item() == 50001);
    CHECK(x.gradient().item() == 1);
  }
  {
    const Tensor x = leaf({}, {1});
    Tensor y = x;  // multiplication saves its inputs: the tape holds tensors, which hold the tape
    for (int i = 0; i < 100000; ++i) y = y * 1.0;
  }
  CHECK(live_tensor_count() == alive);
}

TEST_CASE("a tensor used twice gets the sum of its gradients") {
  const Tensor x = leaf({2}, {3, 4});
  backward(sum(x * x + x));
  CHECK(x.gradient().to_vector<double>() == std::vector<double>{7, 9});
  const Tensor a = leaf({}, {2}), b = a + a, c = b + b;
  backward(c);
  CHECK(a.gradient().item() == 4);
}

TEST_CASE("gradients accumulate until they are set back") {
  const Tensor x = leaf({2}, {1, 2});
  backward(sum(x * 3.0));
  const Tensor first = x.gradient();
  backward(sum(x * 4.0));
  CHECK(x.gradient().to_vector<double>() == std::vector<double>{7, 7});
  CHECK(first.is_same(x.gradient()));  // in place
  x.set_gradient({});
  CHECK_FALSE(x.gradient().defined());
}

TEST_CASE("a leaf's gradient is its own buffer, not the cotangent's") {
  const Tensor x = leaf({2}, {1, 2}), cotangent = from_values({2}, std::vector<double>{5, 6}, DType::f64);
  backward(x + 0.0, cotangent);
  backward(x + 0.0, cotangent);
  CHECK(cotangent.to_vector<double>() == std::vector<double>{5, 6});
  CHECK(x.gradient().to_vector<double>() == std::vector<double>{10, 12});
}

TEST_CASE("no_grad and detach cut the tape") {
  const Tensor x = leaf({2}, {1, 2});
  {
    const NoGradScope no_grad;
    CHECK_FALSE((x * x).requires_grad());
  }
  CHECK((x * x).requires_grad());
  CHECK_FALSE((x * x).detach().requires_grad());
  backward(sum(x * x.detach()));
  CHECK(x.gradient().to_vector<double>() == std::vector<double>{1, 2});
}

TEST_CASE("the tape is let go after a pass unless it is retained") {
  const Tensor x = leaf({}, {3});
  const Tensor y = x * x;
  backward(y, {}, {.retain_graph = true});
  backward(y);
  CHECK(x.gradient().item() == 12);
  const std::string text = message_of<ContractError>([&] { backward(y); });
  CHECK(has(text, "[mul]"));
  CHECK(has(text, "retain_graph"));
  CHECK(has(text, "tests/engine_test.cpp:"));
}

TEST_CASE("derivatives of derivatives") {
  const Tensor x = leaf({}, {2});
  const Tensor y = pow(x, 4.0);
  const Tensor first = grad({y}, {x}, {}, {.create_graph = true})[0];
  const Tensor second = grad({first}, {x}, {}, {.create_graph = true})[0];
  const Tensor third = grad({second}, {x}, {}, {.create_graph = true})[0];
  CHECK(first.item() == doctest::Approx(32));
  CHECK(second.item() == doctest::Approx(48));
  CHECK(third.item() == doctest::Approx(48));
  CHECK(grad({third}, {x})[0].item() == doctest::Approx(24));
}

TEST_CASE("second derivatives through a fused kernel come from its reference") {
  const Tensor x = leaf({1, 3}, {0.3, -0.2, 0.9}), gain = leaf({3}, {1, 2, 3}), bias = leaf({3}, {0, 0, 0});
  const Tensor first = grad({sum(pow(layer_norm(x, gain, bias), 2.0))}, {x}, {}, {.create_graph = true})[0];
  CHECK(first.requires_grad());
  CHECK(grad({sum(first * first)}, {x, gain})[1].numel() == 3);
}

TEST_CASE("second derivatives of bf16 with f32 parameters: in f32, those of f32 to bf16's precision") {
  const auto second = [](DType dtype) {
    const Tensor x = leaf({2, 3}, {0.25, -0.5, 1, 2, 0.75, -1}), gain = leaf({3}, {1, 2, 3}), weight = leaf({2, 3}, {1, -1, 0.5, 2, 0.25, 1});
    const Tensor single = cast(x, DType::f32), narrow = dtype == DType::bf16 ? cast(single, dtype) : single;
    const Tensor y = linear(layer_norm(narrow, cast(gain, DType::f32), zeros({3})), cast(weight, DType::f32));
    const Tensor total = sum(cast(gelu(y) * y, DType::f64));
    const Tensor first = grad({total}, {x}, {}, {.create_graph = true})[0];
    Tensors found = grad({sum(first * first)}, {x, gain, weight});
    return std::vector<std::vector<double>>{found[0].to_vector<double>(), found[1].to_vector<double>(), found[2].to_vector<double>()};
  };
  const auto narrow = second(DType::bf16), single = second(DType::f32);
  CHECK(narrow != single);
  for (std::size_t i = 0; i < single.size(); ++i) {
    double largest = 0;
    for (const double value : single[i]) largest = std::max(largest, std::fabs(value));
    for (std::size_t e = 0; e < single[i].size(); ++e) CHECK(std::fabs(narrow[i][e] - single[i][e]) <= 16 * 0x1p-8 * largest);
  }
}

TEST_CASE("grad() asks for leaves and intermediate tensors, and leaves .gradient alone") {
  const Tensor x = leaf({}, {3}), unused = leaf({}, {1});
  const Tensor y = x * x, z = y * 2.0;
  const Tensors found = grad({z}, {y, x, unused});
  CHECK(found[0].item() == 2);
  CHECK(found[1].item() == 12);
  CHECK_FALSE(found[2].defined());
  CHECK_FALSE(x.gradient().defined());
}

TEST_CASE("hooks see gradients, and may replace them") {
  const Tensor x = leaf({}, {3});
  Tensor y = x * 2.0;
  double seen_y = 0, seen_x = 0;
  register_hook(y, [&](const Tensor& g) {
    seen_y = g.item();
    return g * 10.0;
  });
  register_hook(x, [&](const Tensor& g) {
    seen_x = g.item();
    return Tensor();
  });
  backward(y * 3.0);
  CHECK(seen_y == 3);
  CHECK(seen_x == 60);
  CHECK(x.gradient().item() == 60);
  CHECK(has(message_of<ContractError>([] { register_hook(scalar(1), [](const Tensor& g) { return g; }); }), "does not require grad"));
}

TEST_CASE("an in-place write to a saved tensor is reported with both places") {
  const Tensor x = leaf({2}, {1, 2});
  const Tensor y = exp(x);
  const Tensor z = sum(y * 2.0);
  y.mutable_data<double>()[0] = 5;
  const std::string text = message_of<ContractError>([&] { backward(z); });
  CHECK(has(text, "[exp] output 'out' was saved for backward by the op at tests/engine_test.cpp:"));
  CHECK(has(text, "modified in place at tests/engine_test.cpp:"));
  CHECK(has(text, "version 1, saved at version 0"));
}

TEST_CASE("an in-place op on a tensor that requires grad is refused") {
  const Tensor w = leaf({2}, {1, 2}), g = ones({2}, DType::f64), m = zeros({2}, DType::f64), v = zeros({2}, DType::f64);
  CHECK(has(message_of<ContractError>([&] { adamw_step_(w, g, m, v, {}); }), "'parameter' requires grad and would be modified in place"));
  const NoGradScope no_grad;
  adamw_step_(w, g, m, v, {});
  CHECK(w.version() == 1);
}

TEST_CASE("anomaly mode names the first op that is not finite, forward and backward") {
  const AnomalyScope anomaly;
  const Tensor x = leaf({2}, {0, 4});
  const ModuleScope scope("blocks");
  const ModuleScope inner("3");
  const std::string forward = message_of<NumericError>([&] { log(x - 1.0); });
  CHECK(has(forward, "[log] output 'out' is not finite"));
  CHECK(has(forward, "x in [-1, 3]"));
  CHECK(has(forward, "in blocks.3"));
  CHECK(has(forward, "tests/engine_test.cpp:"));
  const Tensor root = sqrt(x);
  const std::string back = message_of<NumericError>([&] { backward(sum(root)); });
  CHECK(has(back, "the gradient of input 'x' of [sqrt] at tests/engine_test.cpp:"));
  CHECK(has(back, "in blocks.3"));
}

TEST_CASE("calls that cannot work say why") {
  const Tensor x = leaf({2}, {1, 2});
  CHECK(has(message_of<ContractError>([&] { backward(x * 2.0); }), "pass a cotangent of its shape"));
  CHECK(has(message_of<ContractError>([&] { backward(x * 2.0, ones({3}, DType::f64)); }), "cannot be (3) f64 cpu"));
  CHECK(has(message_of<ContractError>([&] { backward(sum(x.detach())); }), "does not require grad"));
  CHECK(has(message_of<ContractError>([&] { grad({sum(x)}, {x.detach()}); }), "does not require grad"));
  CHECK(has(message_of<ContractError>([&] { matmul(x, x); }), "[matmul] both operands need at least two axes: a (2) f64 cpu, b (2) f64 cpu at tests/engine_test.cpp:"));
  CHECK(has(message_of<ContractError>([&] { x + ones({3}, DType::f64); }), "at tests/engine_test.cpp:"));
  CHECK(has(message_of<ContractError>([&] { apply(softmax_op(), {x}, {{"axes", std::int64_t{1}}}); }), "[softmax] has no attribute 'axes'"));
  CHECK(has(message_of<ContractError>([&] { apply(softmax_op(), {x}, {{"axis", 1.0}}); }), "attribute 'axis' cannot be 1"));
  CHECK(has(message_of<ContractError>([&] { apply(softmax_op(), {x, x}); }), "takes 1 inputs, 2 were given"));
  CHECK(has(message_of<ContractError>([&] { add(x, {}); }), "input 'b' is undefined"));
  CHECK(has(message_of<ContractError>([&] { (x * 2.0).set_requires_grad(); }), "on a leaf only"));
}

TEST_CASE("undefined tensors are refused by what they were given to, which names op, operand and place") {
  const Tensor x = leaf({2, 2}, {1, 2, 3, 4}), none;
  const auto refuses = [](const std::string& beginning, auto&& call) {
    const std::string message = message_of<ContractError>(call);
    CAPTURE(message);
    CHECK(message.starts_with(beginning));
    CHECK(has(message, " at tests/engine_test.cpp:"));
  };
  refuses("backward: output 0 is undefined", [&] { backward(none); });
  refuses("backward: output 1 is undefined", [&] { backward(Tensors{sum(x), none}, {}); });
  refuses("grad: input 0 (undefined) does not require grad", [&] { grad({sum(x)}, {none}); });
  refuses("backward: output 0 is undefined", [&] { grad({none}, {x}); });
  refuses("register_hook() of an undefined tensor", [&] { register_hook(none, [](const Tensor& g) { return g; }); });
  refuses("[add] input 'a' is undefined", [&] { none + x; });
  refuses("[mul] input 'b' is undefined", [&] { x * none; });
  refuses("[sub] input 'a' is undefined", [&] { none - 1.0; });
  refuses("[div] input 'a' is undefined", [&] { 1.0 / none; });
  refuses("[neg] input 'x' is undefined", [&] { -none; });
  refuses("[cast] input 'x' is undefined", [&] { cast(none, DType::f32); });
  refuses("[sum] input 'x' is undefined", [&] { sum(none); });
  refuses("[mean] input 'x' is undefined", [&] { mean(none, {0}); });
  refuses("[matmul] input 'b' is undefined", [&] { matmul(x, none); });
  refuses("[linear] input 'weight' is undefined", [&] { linear(x, none); });
  refuses("[reshape] input 'x' is undefined", [&] { reshape(none, {4}); });
  refuses("[permute] input 'x' is undefined", [&] { permute(none, {1, 0}); });
  refuses("[slice] input 'x' is undefined", [&] { slice(none, 0, 0, 1); });
  refuses("[concat] input 'tensors[1]' is undefined", [&] { concat({x, none}, 0); });
  refuses("[softmax] input 'x' is undefined", [&] { softmax(none); });
  refuses("[max] input 'x' is undefined", [&] { max(none); });
  refuses("[cross_entropy] input 'targets' is undefined", [&] { cross_entropy(x, none); });
  refuses("[embedding] input 'ids' is undefined", [&] { embedding(x, none); });
  refuses("[where] input 'condition' is undefined", [&] { where(none, x, x); });
  refuses("[layer_norm] input 'bias' is undefined", [&] { layer_norm(x, x, none); });
  // Where a gradient has not arrived, the sentence comes from what is asked of it.
  refuses("numel() of an undefined tensor", [&] { x.gradient().numel(); });
}

namespace {

struct Attention : nn::Module {
  explicit Attention(nn::Initializer& initializer) : key(4, 4, true, initializer) { register_module("key", key); }
  Tensor forward(const Tensor& x) const { return run(key, x); }
  nn::Linear key;
};
struct Block : nn::Module {
  explicit Block(nn::Initializer& initializer) : norm(4, DType::f64), attention(initializer), drop(0.5, initializer.generator) {
    register_module("norm", norm);
    register_module("attn", attention);
    register_module("drop", drop);
  }
  Tensor forward(const Tensor& x) const { return run(drop, x, run(attention, x)) + x.gradient(); }
  nn::LayerNorm norm;
  Attention attention;
  nn::Dropout drop;
};
struct Model : nn::Module {
  explicit Model(nn::Initializer& initializer) : block(initializer) { register_module("blocks.0", block); }
  Tensor forward(const Tensor& x) const { return run(block, x); }
  Block block;
};

}  // namespace

TEST_CASE("an error in a layer names the line that called it, and the module's path") {
  nn::Initializer initializer{.generator = Generator(1), .dtype = DType::f64};
  const Model model(initializer);
  const auto line_of = [](const std::string& message) {
    const std::string mark = " at tests/engine_test.cpp:";
    const std::size_t at = message.find(mark);
    return at == std::string::npos ? std::string() : message.substr(at + mark.size());
  };
  const std::string shape = message_of<ContractError>([&] { model.forward(ones({2, 3}, DType::f64)); });
  CAPTURE(shape);
  CHECK(has(shape, "[linear] "));
  CHECK(has(line_of(shape), " in blocks.0.attn.key"));
  // Alone, a layer has no path; the line is that of the call.
  const int here = __LINE__ + 1;
  const std::string alone = message_of<ContractError>([&] { model.block.norm.forward(ones({2, 3}, DType::f64)); });
  CAPTURE(alone);
  CHECK(line_of(alone) == std::to_string(here));
  // Of a layer with more operands, and of an op in a module's own forward.
  const std::string dtype = message_of<ContractError>([&] { model.forward(ones({2, 4}, DType::f32)); });
  CAPTURE(dtype);
  CHECK(has(line_of(dtype), " in blocks.0.attn.key"));
  const std::string own = message_of<ContractError>([&] { model.forward(ones({2, 4}, DType::f64)); });
  CAPTURE(own);
  CHECK(own.starts_with("[add] input 'b' is undefined at tests/engine_test.cpp:"));
  CHECK(line_of(own).ends_with(" in blocks.0"));
}

TEST_CASE("only what needs a gradient is recorded") {
  const std::int64_t alive = live_tensor_count();
  {
    const Tensor x = ones({3}, DType::f64);
    const Tensor y = exp(x) * 2.0;
    CHECK_FALSE(y.requires_grad());
    const Tensor z = equal(leaf({1}, {1}), leaf({1}, {1}));
    CHECK_FALSE(z.requires_grad());
  }
  CHECK(live_tensor_count() == alive);
}

TEST_CASE("no tensor outlives its tape") {
  const std::int64_t alive = live_tensor_count();
  {
    const Tensor x = leaf({4, 4}, std::vector<double>(16, 0.5));
    const Tensor loss = sum(softmax(matmul(tanh(x), x)));
    const Tensor gradient = grad({loss}, {x}, {}, {.create_graph = true})[0];
    backward(sum(gradient * gradient));
    CHECK(x.gradient().defined());
  }
  CHECK(live_tensor_count() == alive);
}
