// CUDA kernels of the reductions.
#include "framework/kernels/cuda/extremes.h"
#include "framework/kernels/cuda/reduce.h"
#include "framework/kernels/elements.h"
#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/ops/device_kernels.h"
#include "framework/ops/ops.h"
#include "framework/ops/reduced_axes.h"

namespace gradus::cuda {
namespace {

ReducedAxes axes_of(const Tensor& x, const std::vector<bool>& reduced) { return {x.shape(), x.strides(), reduced}; }

Tensor workspace_of(const Tensor& x, std::size_t bytes) {
  return Tensor::empty({static_cast<std::int64_t>(bytes)}, DType::u8, x.device());
}

Shape kept(const Tensor& x, const std::vector<bool>& reduced) {
  Shape shape = x.shape();
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (reduced[axis]) shape[axis] = 1;
  }
  return shape;
}

}  // namespace

Tensor sum_over(const Tensor& x, const std::vector<bool>& reduced, DType dtype) {
  const Tensor y = Tensor::empty(kept(x, reduced), dtype, x.device());
  const ReducedAxes axes = axes_of(x, reduced);
  const auto run = [&]<class T, class Out>() {
    const Tensor workspace = workspace_of(x, sum_workspace_bytes<T>(axes));
    sum<T, Out>(y.device_data<Out>(), x.device_data<T>(), axes, workspace.bytes(), compute_stream());
  };
  if (x.dtype() == DType::i64) run.template operator()<std::int64_t, std::int64_t>();
  else if (x.dtype() == DType::bf16 && dtype == DType::f32) run.template operator()<bfloat16, float>();
  else visit_floating_dtype(x.dtype(), [&]<class T>() { run.template operator()<T, T>(); });
  return y;
}

bool all_finite(const Tensor& x) {
  if (!is_floating(x.dtype())) return true;
  const Tensor packed = elements::contiguous(x), found = zeros({1}, DType::i32, x.device());
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    find_not_finite<T>(found.device_data<std::int32_t>(), packed.device_data<T>(), packed.numel(), compute_stream());
  });
  return found.item() == 0;
}

namespace {

void average(ForwardCall& call) {
  const Tensor& x = call.input(0);
  const ReducedAxes axes = axes_of(x, reduction_of(x.shape(), call.attributes()).reduced);
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    const Tensor workspace = workspace_of(x, sum_workspace_bytes<T>(axes));
    mean<T>(call.output(0).device_data<T>(), x.device_data<T>(), axes, workspace.bytes(), compute_stream());
  });
}

void vary(ForwardCall& call) {
  const Tensor& x = call.input(0);
  const ReducedAxes axes = axes_of(x, reduction_of(x.shape(), call.attributes()).reduced);
  const Tensor workspace = workspace_of(x, variance_workspace_bytes(axes));
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    variance<T>(call.output(0).device_data<T>(), x.device_data<T>(), axes, call.number("correction"), workspace.bytes(),
                compute_stream());
  });
}

/// Indices of the largest along the axis, into `indices`, and they themselves into `values` where it is defined.
void find_largest(const Tensor& x, const Reduction& r, const Tensor& values, const Tensor& indices) {
  const ReducedAxes axes = axes_of(x, r.reduced);
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    const Tensor workspace = workspace_of(x, largest_workspace_bytes<T>(axes));
    largest<T>(values.defined() ? values.device_data<T>() : nullptr, indices.device_data<std::int64_t>(),
               x.device_data<T>(), axes, workspace.bytes(), compute_stream());
  });
}

void take_largest(ForwardCall& call) {
  const Reduction r = reduction_of(call.input(0).shape(), call.attributes());
  find_largest(call.input(0), r, call.output(0), Tensor::empty(r.kept_shape, DType::i64, call.device()));
}

}  // namespace

void install_reductions() {
  install_kernels(Device::Kind::cuda, mean_op(), {.forward = average, .bf16 = true});
  install_kernels(Device::Kind::cuda, var_op(), {.forward = vary, .bf16 = true});
  install_kernels(Device::Kind::cuda, max_op(), {.forward = take_largest, .bf16 = true});
  const auto argmax = [](ForwardCall& call) {
    find_largest(call.input(0), reduction_of(call.input(0).shape(), call.attributes()), Tensor(), call.output(0));
  };
  install_kernels(Device::Kind::cuda, argmax_op(), {.forward = argmax, .bf16 = true});
}
}  // namespace gradus::cuda
