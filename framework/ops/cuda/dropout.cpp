// CUDA kernels of dropout and of what it feeds: a residual stream, and the layer norm behind that.
#include "framework/kernels/cuda/dropout.h"

#include "framework/kernels/cuda/layer_norm.h"
#include "framework/kernels/elements.h"
#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/ops/device_kernels.h"
#include "framework/ops/ops.h"

namespace gradus::cuda {
namespace {

template <class Call>
DropoutMask mask_of(const Call& call) {
  return {call.number("probability"), static_cast<std::uint64_t>(call.integer("seed")),
          static_cast<std::uint64_t>(call.integer("stream")), stream_offset()};
}

/// x, some of its elements dropped, and added to the residual where it is defined.
Tensor dropped(const Tensor& x, const Tensor& residual, const DropoutMask& mask) {
  const Tensor packed = elements::contiguous(x), out = Tensor::empty(x.shape(), x.dtype(), x.device());
  const Tensor direct = residual.defined() ? elements::contiguous(residual) : Tensor();
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    dropout<T>(out.device_data<T>(), packed.device_data<T>(), direct.defined() ? direct.device_data<T>() : nullptr,
               x.numel(), mask, compute_stream());
  });
  return out;
}

void add_dropped(ForwardCall& call) { call.set_output(0, dropped(call.input(1), call.input(0), mask_of(call))); }

void add_dropped_backward(BackwardCall& call) {
  call.set_gradient(0, call.cotangent());
  if (call.needs(1)) call.set_gradient(1, dropped(call.cotangent(), {}, mask_of(call)));
}

void add_and_normalise(ForwardCall& call) {
  const Tensor residual = elements::contiguous(call.input(0)), update = elements::contiguous(call.input(1));
  const std::int64_t n = residual.shape().back(), rows = residual.numel() / n;
  visit_floating_dtype(residual.dtype(), [&]<class T>() {
    using A = Arithmetic<T>;
    const Tensor gain = elements::contiguous(call.input(2), dtype_of<A>),
                 bias = elements::contiguous(call.input(3), dtype_of<A>);
    const Tensor mean = Tensor::empty({rows}, dtype_of<A>, residual.device()),
                 scale = Tensor::empty({rows}, dtype_of<A>, residual.device());
    add_layer_norm_forward<T>(residual.device_data<T>(), update.device_data<T>(), mask_of(call), gain.device_data<A>(),
                              bias.device_data<A>(), call.output(1).device_data<T>(), call.output(0).device_data<T>(),
                              mean.device_data<A>(), scale.device_data<A>(), rows, n, A(call.number("epsilon")),
                              compute_stream());
    if (call.will_run_backward()) {
      call.save(mean);
      call.save(scale);
    }
  });
}

void add_and_normalise_backward(BackwardCall& call) {
  const Tensor sum = elements::contiguous(call.output(1)), g = elements::contiguous(call.cotangent(0)),
               g_sum = elements::contiguous(call.cotangent(1));
  const std::int64_t n = sum.shape().back(), rows = sum.numel() / n;
  const bool drops = call.number("probability") > 0;
  visit_floating_dtype(sum.dtype(), [&]<class T>() {
    using A = Arithmetic<T>;
    const Tensor gain = elements::contiguous(call.input(2), dtype_of<A>);
    const auto beside = [&](const Shape& shape, DType dtype) { return Tensor::empty(shape, dtype, sum.device()); };
    const Tensor total = beside(sum.shape(), sum.dtype()), dupdate = drops ? beside(sum.shape(), sum.dtype()) : total,
                 dgain = beside({n}, dtype_of<A>), dbias = beside({n}, dtype_of<A>),
                 partials = beside({layer_norm_partials(rows, n)}, dtype_of<A>);
    add_layer_norm_backward<T>(sum.device_data<T>(), gain.device_data<A>(), g.device_data<T>(), g_sum.device_data<T>(),
                               mask_of(call), call.saved(0).device_data<A>(), call.saved(1).device_data<A>(),
                               total.device_data<T>(), drops ? dupdate.device_data<T>() : nullptr,
                               dgain.device_data<A>(), dbias.device_data<A>(), partials.device_data<A>(), rows, n,
                               compute_stream());
    call.set_gradient(0, total);
    call.set_gradient(1, dupdate);
    call.set_gradient(2, dgain);
    call.set_gradient(3, dbias);
  });
}

}  // namespace

void install_dropout() {
  install_kernels(
      Device::Kind::cuda, dropout_op(),
      {.forward = [](ForwardCall& call) { call.set_output(0, dropped(call.input(0), {}, mask_of(call))); },
       .backward = [](BackwardCall& call) { call.set_gradient(0, dropped(call.cotangent(), {}, mask_of(call))); },
       .bf16 = true});
  install_kernels(Device::Kind::cuda, dropout_add_op(),
                  {.forward = add_dropped, .backward = add_dropped_backward, .bf16 = true});
  install_kernels(Device::Kind::cuda, dropout_add_layer_norm_op(),
                  {.forward = add_and_normalise, .backward = add_and_normalise_backward, .bf16 = true});
}

}  // namespace gradus::cuda
