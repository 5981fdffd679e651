// Is the gradient of swiglu right? If so, trains a small network with it; else ends with status 1.
#include <fmt/format.h>

#include "swiglu.h"

using namespace gradus;

namespace {

/// x (..., 1) -> (..., 1), through a hidden layer.
class Network : public nn::Module {
 public:
  Network(std::int64_t hidden, nn::Initializer& initializer)
      : gate_(1, hidden, true, initializer), value_(1, hidden, true, initializer), out_(hidden, 1, true, initializer) {
    register_module("gate", gate_);
    register_module("value", value_);
    register_module("out", out_);
  }
  Tensor forward(const Tensor& x) const { return run(out_, swiglu(run(gate_, x), run(value_, x))); }

 private:
  nn::Linear gate_, value_, out_;
};

bool gradient_is_right() {
  bool right = true;
  for (const testing::CheckReport& report : testing::check_op(swiglu_op())) {
    fmt::print("{}", testing::to_text(report));
    right = right && report.passed();
  }
  return right;
}

void train_network() {
  nn::Initializer initializer{.generator = Generator(1), .deviation = 0.5};
  const Network network(16, initializer);
  optim::AdamW optimizer(network.named_parameters(), {.weight_decay = 0});
  const Tensor x = reshape(arange(64, DType::f32) / 32.0 - 1.0, {64, 1});
  const Tensor wanted = x * x * x - x * 0.5;
  for (int step = 0; step <= 200; ++step) {
    const Tensor error = network.forward(x) - wanted, loss = mean(error * error);
    network.zero_gradients();
    backward(loss);
    optimizer.step(0.02);
    if (step % 50 == 0) fmt::print("step {:3}  loss {:.6f}\n", step, loss.item());
  }
}

}  // namespace

int main() {
  try {
    if (!gradient_is_right()) return 1;
    train_network();
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
