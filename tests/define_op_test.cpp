// Ops that a program brings along: what define_op() accepts, refuses and fills in, and what is said of their mistakes.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "framework/gradus.h"
#include "framework/tensor/device_memory.h"
#include "tests/messages.h"

using namespace gradus;

namespace {

/// A record that define_op() accepts, under a name of its own.
OpSpec acceptable() {
  static int count = 0;
  return {.name = fmt::format("op_{}", count++),
          .inputs = {{"x"}},
          .saves = {.inputs = {0}},
          .cpu = {.forward =
                      [](ForwardCall& call) {
                        fill_elements(
                            call.output(0), [](auto x) { return x * x; }, call.input(0));
                      },
                  .backward =
                      [](BackwardCall& call) {
                        call.set_gradient(
                            0, map_elements([](auto g, auto x) { return 2 * x * g; }, call.cotangent(), call.input(0)));
                      }}};
}

std::string refusal(OpSpec record) {
  return message_of<UsageError>([&] { define_op(std::move(record)); });
}

/// x (3,4), f64, requires grad.
Tensor matrix() {
  Generator generator(1);
  return random_normal({3, 4}, generator, DType::f64).set_requires_grad();
}

/// What is said when `backward` is the backward of an op of inputs x (3,4) and ids (3) that has two outputs.
std::string complaint(std::function<void(BackwardCall&)> backward, bool composite = false) {
  OpSpec record = acceptable();
  record.name = fmt::format("faulty_{}", defined_ops().size());
  record.inputs = {{"x"}, {.name = "ids", .differentiable = false}};
  record.outputs = {"y", "z"};
  record.infer = [](const OpCall& call) { return std::vector(2, call.input(0).spec()); };
  record.cpu.forward = [](ForwardCall& call) {
    for (std::size_t i : {0, 1})
      fill_elements(
          call.output(i), [](auto x) { return x; }, call.input(0));
  };
  (composite ? record.backward_composite : record.cpu.backward) = std::move(backward);
  if (composite) record.cpu.backward = {};
  const OpSpec& op = define_op(std::move(record));
  const Tensor x = matrix(), y = apply(op, {x, arange(3)})[0];
  std::string text = message_of<ContractError>([&] { gradus::backward(sum(y)); });
  const std::string prefix = "[" + op.name + "] ";
  CHECK_MESSAGE((text == "no error" || text.starts_with(prefix)), text);
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

}  // namespace

TEST_CASE("a defined op computes and differentiates at once, in f32 and f64") {
  const OpSpec& square = define_op(acceptable());
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor x = from_values({3}, std::vector<double>{1, -2, 3}, dtype).set_requires_grad();
    const Tensor y = apply(square, {x * 2.0})[0];
    CHECK(y.to_vector<double>() == std::vector<double>{4, 16, 36});
    backward(sum(y));
    CHECK(x.gradient().to_vector<double>() == std::vector<double>{8, -16, 24});
    CHECK(x.gradient().dtype() == dtype);
  }
}

TEST_CASE("a model trains through a defined op as it does through the built-in one") {
  OpSpec record = acceptable();
  record.saves = {.outputs = {0}};
  record.cpu.forward = [](ForwardCall& call) {
    fill_elements(
        call.output(0), [](auto x) { return std::tanh(x); }, call.input(0));
  };
  record.cpu.backward = [](BackwardCall& call) {
    const auto slope = [](auto u, auto y) { return u * (1 - y * y); };
    call.set_gradient(0, map_elements(slope, call.cotangent(), call.output(0)));
  };
  const OpSpec& own = define_op(record);
  struct Network : nn::Module {
    Network(const OpSpec& activation, nn::Initializer initializer)
        : activation(activation), first(2, 8, true, initializer), second(8, 1, true, initializer) {
      register_module("first", first);
      register_module("second", second);
    }
    Tensor forward(const Tensor& x) const { return run(second, apply(activation, {run(first, x)})[0]); }
    const OpSpec& activation;
    nn::Linear first, second;
  };
  const auto losses = [](const OpSpec& activation) {
    const Network network(activation, {.generator = Generator(1), .dtype = DType::f64, .deviation = 0.5});
    optim::AdamW optimizer(network.named_parameters(), {});
    Generator generator(2);
    const Tensor x = random_normal({16, 2}, generator, DType::f64), wanted = sum(x * x, {1}, true);
    std::vector<double> found;
    for (int step = 0; step < 3; ++step) {
      const Tensor error = network.forward(x) - wanted, loss = mean(error * error);
      network.zero_gradients();
      backward(loss);
      optimizer.step(0.02);
      found.push_back(loss.item());
    }
    return found;
  };
  const std::vector<double> with_own = losses(own), with_built_in = losses(tanh_op());
  CHECK(with_own[1] < with_own[0]);
  for (std::size_t step = 0; step < 3; ++step)
    CHECK(with_own[step] == doctest::Approx(with_built_in[step]).epsilon(1e-12));
}

TEST_CASE("check_op judges a defined op: first order alone, or both where the record can give the second") {
  OpSpec record = acceptable();
  record.samples = [](SampleMaker& make) -> std::vector<Sample> { return {{"matrix", {make.normal({3, 4})}}}; };
  const auto reports_of = [&] {
    record.name += "_";
    return testing::check_op(define_op(record));
  };
  const std::vector<testing::CheckReport> first_order = reports_of();
  REQUIRE(first_order.size() == 1);
  CHECK_MESSAGE(first_order[0].passed(), testing::to_text(first_order[0]));

  record.reference = [](const OpCall& call) -> Tensors { return {call.input(0) * call.input(0)}; };
  record.saves = {.all_inputs = true};
  const std::vector<testing::CheckReport> both = reports_of();
  REQUIRE(both.size() == 2);
  CHECK(both[1].order == 2);
  for (const testing::CheckReport& report : both) CHECK_MESSAGE(report.passed(), testing::to_text(report));

  record.cpu.backward = [](BackwardCall& call) {
    call.set_gradient(0, map_elements([](auto u, auto x) { return u * x; }, call.cotangent(), call.input(0)));
  };
  const std::vector<testing::CheckReport> half = reports_of();
  REQUIRE(half.size() == 1);
  CHECK_MESSAGE(half[0].rerun.empty(), "the program `gradus` does not have this op");
  CHECK(half[0].verdict == testing::Verdict::disagree);
  REQUIRE(half[0].hint.has_value());
  CHECK_MESSAGE(has(half[0].hint->sentence, "half of the expected"), half[0].hint->sentence);
}

TEST_CASE("records stay where they are, are listed and found by name") {
  const std::size_t before = defined_ops().size();
  const OpSpec& first = define_op(acceptable());
  const std::string name = first.name;
  for (int i = 0; i < 1000; ++i) define_op(acceptable());
  CHECK(first.name == name);
  REQUIRE(defined_ops().size() == before + 1001);
  CHECK(defined_ops()[before] == &first);
  CHECK(&find_op(name) == &first);
  CHECK(has(message_of<UsageError>([] { find_op("no_such_op"); }), name));
  for (const OpSpec* op : all_ops()) CHECK(op->name != name);
}

TEST_CASE("without infer an op is element-wise") {
  OpSpec record = acceptable();
  record.inputs = {{"a"}, {"b"}};
  record.saves = {.all_inputs = true};
  record.cpu.forward = [](ForwardCall& call) {
    fill_elements(
        call.output(0), [](double a, double b) { return a * b; }, call.input(0), call.input(1));
  };
  record.cpu.backward = [](BackwardCall& call) {
    const auto times = [](double g, double other) { return g * other; };
    call.set_gradient(0, map_elements(times, call.cotangent(), call.input(1)));
    call.set_gradient(1, map_elements(times, call.cotangent(), call.input(0)));
  };
  const OpSpec& op = define_op(record);
  const Tensor a = matrix(), b = from_values({3, 1}, std::vector<double>{1, 2, 3}, DType::f64).set_requires_grad();
  const Tensor y = apply(op, {a, b})[0];
  CHECK(y.shape() == Shape{3, 4});
  backward(sum(y));
  CHECK(b.gradient().shape() == Shape{3, 1});
  CHECK(b.gradient().to_vector<double>() == sum(a, {1}, true).to_vector<double>());
  const auto said = [&](const Tensor& x, const Tensor& z) {
    return message_of<ContractError>([&] { apply(op, {x, z}); });
  };
  CHECK(has(said(a, zeros({3, 3}, DType::f64)),
            "[" + op.name + "] shapes do not broadcast ((3,4) and (3,3)): a (3,4) f64 cpu, b (3,3) f64 cpu at "));
  CHECK(has(said(a, zeros({3, 4})), "dtypes differ (a is f64, b is f32)"));
  CHECK(has(said(arange(3), arange(3)), "a must be f32, f64 or bf16, not i64"));
}

TEST_CASE("a backward of ops alone gives every order of derivative") {
  OpSpec record = acceptable();
  record.cpu.backward = {};
  record.backward_composite = [](BackwardCall& call) { call.set_gradient(0, call.cotangent() * call.input(0) * 2.0); };
  const OpSpec& op = define_op(record);
  const Tensor x = matrix();
  const Tensor first = grad({sum(apply(op, {x})[0])}, {x}, {}, {.create_graph = true})[0];
  CHECK(grad({sum(first)}, {x})[0].to_vector<double>() == std::vector<double>(12, 2.0));
}

TEST_CASE("so does a reference made of ops, which may stand for the backward") {
  OpSpec record = acceptable();
  record.saves = {};
  record.cpu.backward = {};
  record.reference = [](const OpCall& call) -> Tensors { return {call.input(0) * call.input(0)}; };
  const OpSpec& op = define_op(record);
  const Tensor x = matrix();
  const Tensor first = grad({sum(apply(op, {x})[0])}, {x}, {}, {.create_graph = true})[0];
  CHECK(grad({sum(first)}, {x})[0].to_vector<double>() == std::vector<double>(12, 2.0));
}

TEST_CASE("a kernel backward alone says that it cannot be differentiated again") {
  const OpSpec& op = define_op(acceptable());
  const Tensor x = matrix();
  const std::string text =
      message_of<ContractError>([&] { grad({sum(apply(op, {x})[0])}, {x}, {}, {.create_graph = true}); });
  CHECK(has(text, "[" + op.name +
                      "] has neither a backward_composite nor a reference made of ops: its gradient cannot be "
                      "differentiated again"));
  CHECK(has(text, "define_op_test.cpp:"));
}

TEST_CASE("a record that cannot work is refused, by op and field") {
  OpSpec record = acceptable();
  const std::string prefix = "define_op: [" + record.name + "] ";
  const auto expect = [&](const std::string& text) { CHECK(refusal(record) == prefix + text); };
  SUBCASE("no name") {
    record.name = "";
    CHECK(refusal(record) == "define_op: name: '' is not an identifier (letters, digits and _)");
  }
  SUBCASE("a name that is no identifier") {
    record.name = "my op";
    CHECK(refusal(record) == "define_op: name: 'my op' is not an identifier (letters, digits and _)");
  }
  SUBCASE("a built-in's name") {
    record.name = "tanh";
    CHECK(refusal(record) == "define_op: [tanh] name: Gradus has an op of this name");
  }
  SUBCASE("a name used before") {
    define_op(record);
    expect("name: an op of this name is defined already");
  }
  SUBCASE("no inputs") {
    record.inputs = {};
    expect("inputs: an op needs at least one");
  }
  SUBCASE("two inputs of one name") {
    record.inputs = {{"x"}, {"x"}};
    expect("inputs: 'x' is there twice");
  }
  SUBCASE("an input without a name") {
    record.inputs = {{"x"}, {""}};
    expect("inputs: number 1 is called '', which is not an identifier");
  }
  SUBCASE("a variadic input that is not the last") {
    record.inputs = {{.name = "many", .variadic = true}, {"x"}};
    expect("inputs: 'many' is variadic, which only the last may be");
  }
  SUBCASE("no outputs") {
    record.outputs = {};
    expect("outputs: an op needs at least one");
  }
  SUBCASE("two attributes of one name") {
    record.attributes = {{"axis", 1}, {"axis", 2}};
    expect("attributes: 'axis' is there twice");
  }
  SUBCASE("an input saved that is not there") {
    record.saves.inputs = {1};
    expect("saves.inputs: there is no input 1, the record has 1");
  }
  SUBCASE("an output saved that is not there") {
    record.saves.outputs = {-1};
    expect("saves.outputs: there is no output -1, the record has 1");
  }
  SUBCASE("an input saved twice") {
    record.saves.inputs = {0, 0};
    expect("saves.inputs: input 0 is there twice");
  }
  SUBCASE("an updated input that is not there") {
    record.mutates = {2};
    expect("mutates: there is no input 2, the record has 1");
  }
  SUBCASE("more updated inputs than outputs") {
    record.inputs = {{"x"}, {"y"}};
    record.mutates = {0, 1};
    expect("mutates: 2 inputs are updated but the record has 1 outputs; output i is input mutates[i]");
  }
  SUBCASE("an updating op with a backward") {
    record.mutates = {0};
    expect("mutates: an op that updates its inputs is not recorded and can have no backward");
  }
  SUBCASE("no forward") {
    record.cpu.forward = {};
    expect("cpu.forward: is missing");
  }
  SUBCASE("no backward") {
    record.cpu.backward = {};
    expect(
        "cpu.backward: is missing, and so is backward_composite; mark every input differentiable = false if there is "
        "no gradient");
  }
  SUBCASE("two outputs without infer") {
    record.outputs = {"y", "z"};
    expect("infer: is needed where there are 2 outputs");
  }
  SUBCASE("an optional input without infer") {
    record.inputs[0].optional = true;
    expect("infer: is needed where an input is optional ('x')");
  }
  const std::size_t before = defined_ops().size();
  refusal(record);
  CHECK(defined_ops().size() == before);
}

TEST_CASE("an op without gradients needs no backward") {
  OpSpec record = acceptable();
  record.inputs[0].differentiable = false;
  record.cpu.backward = {};
  CHECK_FALSE(apply(define_op(record), {matrix()})[0].requires_grad());
}

/// A device that has memory and no kernels.
void install_bare_device() {
  DeviceMemory memory;
  memory.count = [] { return 1; };
  memory.allocate = [](std::int64_t bytes, int) { return std::malloc(bytes); };
  memory.release = [](void* block, int) { std::free(block); };
  install_device_memory(Device::Kind::cuda, std::move(memory));
}

TEST_CASE("a gradient of wrong shape, dtype or device names op and input, expected and actual") {
  install_bare_device();
  for (bool composite : {false, true}) {
    const auto giving = [&](const Tensor& gradient) {
      const std::string text = complaint([=](BackwardCall& call) { call.set_gradient(0, gradient); }, composite);
      return text.substr(0, text.find(" (forward at "));
    };
    const std::string prefix = "backward gave input 'x' a gradient ";
    CHECK(giving(zeros({3, 5}, DType::f64)) == prefix + "of shape (3,5), the input has (3,4)");
    CHECK(giving(zeros({4, 3}, DType::f64)) == prefix + "of shape (4,3), the input has (3,4)");
    CHECK(giving(zeros({}, DType::f64)) == prefix + "of shape (), the input has (3,4)");
    CHECK(giving(zeros({1, 4}, DType::f64)) == prefix + "of shape (1,4), the input has (3,4)");
    CHECK(giving(zeros({3, 4})) == prefix + "of dtype f32, the input has f64");
    CHECK(giving(zeros({3, 4}, DType::i64)) == prefix + "of dtype i64, the input has f64");
    const Device elsewhere{Device::Kind::cuda, 0};
    CHECK(giving(Tensor::empty({3, 4}, DType::f64, elsewhere)) == prefix + "on cuda:0, the input is on cpu");
    CHECK(giving(zeros({2, 3, 4}, DType::f64)) == "no error");  // the broadcast shape: summed back
    CHECK(giving(Tensor()) == "no error");                      // zero
  }
}

TEST_CASE("one gradient too few or too many names op and input") {
  for (bool composite : {false, true}) {
    CHECK(complaint([](BackwardCall&) {}, composite)
              .starts_with(
                  "backward gave no gradient for input 'x'; where it is zero, set an undefined tensor (forward at "));
    CHECK(complaint(
              [](BackwardCall& call) {
                call.set_gradient(2, zeros({3, 4}, DType::f64));
              },
              composite)
              .starts_with("backward gave a gradient for input 2, the call had 2: 'x', 'ids' (forward at "));
    CHECK(complaint([](BackwardCall& call) { call.set_gradient(1, zeros({3}, DType::f64)); }, composite)
              .starts_with("backward gave input 'ids' a gradient, but the record says that it has none (forward at "));
  }
}

TEST_CASE("an undefined gradient is zero: none reaches the input") {
  OpSpec record = acceptable();
  record.cpu.backward = [](BackwardCall& call) { call.set_gradient(0, Tensor()); };
  const Tensor x = matrix();
  backward(sum(apply(define_op(record), {x})[0]));
  CHECK_FALSE(x.gradient().defined());
}

TEST_CASE("a backward that speaks of what is not there says so") {
  CHECK(complaint([](BackwardCall& call) { call.needs(7); }) == "backward speaks of input 7, the call had 2");
  CHECK(complaint([](BackwardCall& call) { call.input_spec(2); }) == "backward speaks of input 2, the call had 2");
  CHECK(complaint([](BackwardCall& call) { call.input(2); }) == "backward speaks of input 2, the call had 2");
  CHECK(complaint([](BackwardCall& call) { call.input(1); }) ==
        "backward reads input 'ids', which its record does not save");
  CHECK(complaint([](BackwardCall& call) { call.output(1); }) ==
        "backward reads output 1, which its record does not save");
  CHECK(complaint([](BackwardCall& call) { call.saved(0); }) == "backward reads saved tensor 0, forward saved 0");
  CHECK(complaint([](BackwardCall& call) { call.cotangent(2); }) ==
        "backward asks for the cotangent of output 2, the op has 2");
}

TEST_CASE("a forward that breaks infer's promise names op and output") {
  OpSpec record = acceptable();
  const auto said = [&](std::function<void(ForwardCall&)> forward) {
    record.name += "_";
    record.cpu.forward = std::move(forward);
    const OpSpec& op = define_op(record);
    const std::string text = message_of<ContractError>([&] { apply(op, {matrix()}); });
    CHECK(text.starts_with("[" + op.name + "] "));
    return text.substr(op.name.size() + 3);
  };
  CHECK(said([](ForwardCall& call) {
          call.set_output(0, zeros({3, 5}, DType::f64));
        })
            .starts_with(
                "forward returned (3,5) f64 cpu for output 'out' where (3,4) f64 was promised: x (3,4) f64 cpu at "));
  CHECK(said([](ForwardCall& call) {
          call.set_output(0, zeros({3, 4}));
        }).starts_with("forward returned (3,4) f32 cpu for output 'out' where (3,4) f64 was promised"));
  CHECK(said([](ForwardCall&) {}).starts_with("forward left output 'out' unset"));
  CHECK(said([](ForwardCall& call) { call.output(1); }).starts_with("output 1 is asked for, infer promised 1"));
  CHECK(said([](ForwardCall& call) {
          call.set_output(1, call.input(0));
        }).starts_with("output 1 is asked for, infer promised 1"));
  CHECK(said([](ForwardCall& call) { call.input(1); }).starts_with("input 1 is asked for, the call has 1"));
  record.infer = [](const OpCall& call) { return std::vector(2, call.input(0).spec()); };
  CHECK(said([](ForwardCall&) {}).starts_with("infer promised 2 outputs, the record names 1"));
}

TEST_CASE("a forward may return its input, or a tensor that has a history") {
  OpSpec record = acceptable();
  record.saves = {};
  record.cpu.forward = [](ForwardCall& call) { call.set_output(0, call.input(0)); };
  record.cpu.backward = [](BackwardCall& call) { call.set_gradient(0, call.cotangent()); };
  const std::int64_t alive = live_tensor_count();
  {
    const Tensor x = matrix(), y = apply(define_op(record), {x})[0];
    CHECK(x.is_leaf());
    CHECK_FALSE(y.is_leaf());
    backward(sum(y));
    CHECK(x.gradient().to_vector<double>() == std::vector<double>(12, 1.0));
  }
  CHECK(live_tensor_count() == alive);
  const Tensor parameter = matrix();
  record.name += "_";
  record.cpu.forward = [parameter](ForwardCall& call) { call.set_output(0, parameter); };
  const Tensor x = matrix();
  backward(sum(apply(define_op(record), {x})[0]));
  CHECK(parameter.is_leaf());
  CHECK(x.gradient().defined());
}

TEST_CASE("operands of the element-wise helpers must fit") {
  const auto said = [](auto body) { return message_of<ContractError>(body); };
  const auto plus = [](auto a, auto b) { return a + b; };
  CHECK(said([&] {
          map_elements(plus, zeros({3, 4}), zeros({3, 5}));
        }) == "map_elements: shapes do not broadcast ((3,4) and (3,5))");
  CHECK(said([&] {
          map_elements(plus, zeros({3, 4}), zeros({3, 4}, DType::f64));
        }) == "fill_elements: an operand (3,4) f64 cpu where f32 is wanted");
  CHECK(said([&] {
          fill_elements(zeros({4}), plus, zeros({3, 4}), zeros({4}));
        }) == "fill_elements: an operand (3,4) f32 cpu does not broadcast to (4) f32 cpu");
  CHECK(map_elements(plus, ones({3, 1}), ones({4})).to_vector<double>() == std::vector<double>(12, 2.0));
  CHECK(map_elements([](double x) { return std::floor(x / 2); }, full({2}, 5)).to_vector<double>() ==
        std::vector<double>{2, 2});
}
