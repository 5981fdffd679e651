// CUDA kernels of the optimizer's steps.
#include "framework/kernels/cuda/optimizer.h"

#include <array>

#include "framework/kernels/elements.h"
#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/ops/device_kernels.h"
#include "framework/ops/ops.h"

namespace gradus::cuda {
namespace {

void clip_all(ForwardCall& call) {
  const Tensors& gradients = call.inputs();
  const Tensor norm = Tensor::empty({2}, DType::f64, call.device());  // a GlobalNorm
  visit_compute_dtype(gradients[0].dtype(), [&]<class T>() {
    std::vector<FlatTensor<T>> flat;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (!gradients[i].is_contiguous()) call.fail("{} must be contiguous", call.input_name(i));
      flat.push_back({gradients[i].device_data<T>(), gradients[i].numel()});
    }
    const Tensor workspace =
        Tensor::empty({static_cast<std::int64_t>(global_norm_workspace_bytes<T>(flat))}, DType::u8, call.device());
    auto* const global = reinterpret_cast<GlobalNorm*>(norm.device_data<double>());
    global_norm<T>(global, call.output(gradients.size()).device_data<T>(), flat, call.number("max_norm"),
                   workspace.bytes(), compute_stream());
    clip<T>(flat, global, compute_stream());
  });
  for (std::size_t i = 0; i < gradients.size(); ++i) call.set_output(i, gradients[i]);
}

void step(ForwardCall& call) {
  for (std::size_t i : {0, 2, 3}) {
    if (!call.input(i).is_contiguous()) call.fail("{} must be contiguous", call.input_name(i));
  }
  const Tensor gradient = elements::contiguous(call.input(1));
  const AdamWConstants constants{call.number("beta1"), call.number("beta2"), call.number("epsilon")};
  visit_compute_dtype(gradient.dtype(), [&]<class T>() {
    const std::array<AdamWTensor<T, T>, 1> tensors{
        {{call.input(0).device_data<T>(), gradient.device_data<T>(), call.input(2).device_data<T>(),
          call.input(3).device_data<T>(), nullptr, gradient.numel(), call.number("weight_decay")}}};
    adamw<T, T>(tensors, constants, adamw_step(constants, call.number("learning_rate"), call.integer("step")), nullptr,
                nullptr, compute_stream());
  });
  call.set_output(0, call.input(0));
  call.set_output(1, call.input(2));
  call.set_output(2, call.input(3));
}

}  // namespace

void install_optimizer() {
  install_kernels(Device::Kind::cuda, clip_by_global_norm_op(), {.forward = clip_all});
  install_kernels(Device::Kind::cuda, adamw_op(), {.forward = step});
}

}  // namespace gradus::cuda
