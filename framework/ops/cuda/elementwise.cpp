// CUDA kernels of the ops that go element by element.
#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/ops/device_kernels.h"
#include "framework/ops/ops.h"

namespace gradus::cuda {
namespace {

template <class Function, class MakeFunction>
void install_unary(const OpSpec& spec, MakeFunction make_function) {
  const bool reads_input = !spec.saves.inputs.empty(), reads_output = !spec.saves.outputs.empty();
  const auto forward = [make_function](ForwardCall& call) {
    const Tensor &x = call.input(0), &y = call.output(0);
    const LoopNest nest = nest_of(y, {x});
    visit_floating_dtype(x.dtype(), [&]<class T>() {
      map_values<T, Function>(make_function(call.attributes()), space_of(nest), strided<T>(y.bytes(), nest.strides[0]),
                              strided<const T>(x.bytes(), nest.strides[1]), compute_stream());
    });
  };
  const auto backward = [make_function, reads_input, reads_output](BackwardCall& call) {
    const Tensor g = call.cotangent();
    const Tensor point = reads_input ? call.input(0) : reads_output ? call.output(0) : g;
    const Tensor dx = Tensor::empty(g.shape(), g.dtype(), g.device());
    const LoopNest nest = nest_of(dx, {g, point});
    visit_floating_dtype(g.dtype(), [&]<class T>() {
      map_slopes<T, Function>(make_function(call.attributes()), space_of(nest), strided<T>(dx.bytes(), nest.strides[0]),
                              strided<const T>(g.bytes(), nest.strides[1]),
                              strided<const T>(point.bytes(), nest.strides[2]), compute_stream());
    });
    call.set_gradient(0, dx);
  };
  install_kernels(Device::Kind::cuda, spec, {.forward = forward, .backward = backward, .bf16 = true});
}

template <class Function>
void install_unary(const OpSpec& spec) {
  install_unary<Function>(spec, [](const Attributes&) { return Function{}; });
}

/// Without a backward of their own: the composites of the records serve.
template <class Function>
void install_binary(const OpSpec& spec) {
  const auto forward = [](ForwardCall& call) {
    const Tensor &a = call.input(0), &b = call.input(1), &out = call.output(0);
    const LoopNest nest = nest_of(out, {a, b});
    visit_floating_dtype(a.dtype(), [&]<class T>() {
      map_pairs<T, T>(Function{}, space_of(nest), strided<T>(out.bytes(), nest.strides[0]),
                      strided<const T>(a.bytes(), nest.strides[1]), strided<const T>(b.bytes(), nest.strides[2]),
                      compute_stream());
    });
  };
  install_kernels(Device::Kind::cuda, spec, {.forward = forward, .bf16 = true});
}

template <class Function>
void install_comparison(const OpSpec& spec) {
  const auto forward = [](ForwardCall& call) {
    const Tensor &a = call.input(0), &b = call.input(1), &out = call.output(0);
    const LoopNest nest = nest_of(out, {a, b});
    const auto run = [&]<class T>() {
      map_pairs<bool, T>(Function{}, space_of(nest), strided<bool>(out.bytes(), nest.strides[0]),
                         strided<const T>(a.bytes(), nest.strides[1]), strided<const T>(b.bytes(), nest.strides[2]),
                         compute_stream());
    };
    if (a.dtype() == DType::i64) run.template operator()<std::int64_t>();
    else visit_floating_dtype(a.dtype(), run);
  };
  install_kernels(Device::Kind::cuda, spec, {.forward = forward, .bf16 = true});
}

/// Calls function.operator()<U>() with the unsigned integer of so many bytes.
template <class Function>
void visit_size(std::int64_t bytes, Function&& function) {
  switch (bytes) {
    case 1: return function.template operator()<std::uint8_t>();
    case 2: return function.template operator()<std::uint16_t>();
    case 4: return function.template operator()<std::uint32_t>();
    case 8: return function.template operator()<std::uint64_t>();
  }
  fail("there is no kernel for elements of {} bytes", bytes);
}

/// out = condition ? a : b.
void choose_into(const Tensor& out, const Tensor& condition, const Tensor& a, const Tensor& b) {
  const LoopNest nest = nest_of(out, {condition, a, b});
  visit_size(size_in_bytes(out.dtype()), [&]<class T>() {
    choose(space_of(nest), strided<T>(out.bytes(), nest.strides[0]),
           strided<const bool>(condition.bytes(), nest.strides[1]), strided<const T>(a.bytes(), nest.strides[2]),
           strided<const T>(b.bytes(), nest.strides[3]), compute_stream());
  });
}

}  // namespace

void install_elementwise() {
  install_unary<functions::Neg>(neg_op());
  install_unary<functions::Exp>(exp_op());
  install_unary<functions::Log>(log_op());
  install_unary<functions::Sqrt>(sqrt_op());
  install_unary<functions::Tanh>(tanh_op());
  install_unary<functions::Sigmoid>(sigmoid_op());
  install_unary<functions::Relu>(relu_op());
  install_unary<functions::Abs>(abs_op());
  install_unary<functions::Erf>(erf_op());
  install_unary<functions::Gelu>(gelu_op());
  install_unary<functions::GeluTanh>(gelu_tanh_op());
  install_unary<functions::Pow>(pow_op(), [](const Attributes& a) { return functions::Pow{a.number("exponent")}; });
  install_unary<functions::Clamp>(clamp_op(), [](const Attributes& a) {
    return functions::Clamp{a.number("low"), a.number("high")};
  });
  install_binary<functions::Add>(add_op());
  install_binary<functions::Subtract>(sub_op());
  install_binary<functions::Multiply>(mul_op());
  install_binary<functions::Divide>(div_op());
  install_binary<functions::Maximum>(maximum_op());
  install_binary<functions::Minimum>(minimum_op());
  install_comparison<functions::Equal>(equal_op());
  install_comparison<functions::NotEqual>(not_equal_op());
  install_comparison<functions::Less>(less_op());
  install_comparison<functions::LessEqual>(less_equal_op());
  install_comparison<functions::Greater>(greater_op());
  install_comparison<functions::GreaterEqual>(greater_equal_op());
  install_kernels(
      Device::Kind::cuda, where_op(),
      {.forward = [](ForwardCall& call) { choose_into(call.output(0), call.input(0), call.input(1), call.input(2)); },
       .bf16 = true});
  const auto masked_fill = [](ForwardCall& call) {
    const Tensor &x = call.input(0), value = scalar(call.number("value"), x.dtype(), x.device());
    choose_into(call.output(0), call.input(1), value, x);
  };
  install_kernels(Device::Kind::cuda, masked_fill_op(), {.forward = masked_fill, .bf16 = true});
}

}  // namespace gradus::cuda
