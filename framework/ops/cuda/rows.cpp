// CUDA kernels of the ops that go row by row: layer norm, softmax and its logarithm, cross-entropy, rotary embedding.
#include "framework/kernels/cuda/cross_entropy.h"
#include "framework/kernels/cuda/layer_norm.h"
#include "framework/kernels/cuda/rotary.h"
#include "framework/kernels/cuda/softmax.h"
#include "framework/kernels/elements.h"
#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/ops/device_kernels.h"
#include "framework/ops/ops.h"

namespace gradus::cuda {
namespace {

/// An uninitialised tensor beside `like`.
Tensor beside(const Tensor& like, const Shape& shape, DType dtype) {
  return Tensor::empty(shape, dtype, like.device());
}

void normalise(ForwardCall& call) {
  const Tensor x = elements::contiguous(call.input(0));
  const std::int64_t n = x.shape().back(), rows = x.numel() / n;
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    using A = Arithmetic<T>;
    const Tensor gain = elements::contiguous(call.input(1), dtype_of<A>),
                 bias = elements::contiguous(call.input(2), dtype_of<A>);
    const Tensor mean = beside(x, {rows}, dtype_of<A>), scale = beside(x, {rows}, dtype_of<A>);
    layer_norm_forward<T>(x.device_data<T>(), gain.device_data<A>(), bias.device_data<A>(),
                          call.output(0).device_data<T>(), mean.device_data<A>(), scale.device_data<A>(), rows, n,
                          A(call.number("epsilon")), compute_stream());
    if (call.will_run_backward()) {
      call.save(mean);
      call.save(scale);
    }
  });
}

void normalise_backward(BackwardCall& call) {
  const Tensor x = elements::contiguous(call.input(0)), g = elements::contiguous(call.cotangent());
  const std::int64_t n = x.shape().back(), rows = x.numel() / n;
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    using A = Arithmetic<T>;
    const Tensor gain = elements::contiguous(call.input(1), dtype_of<A>);
    const Tensor dx = beside(x, x.shape(), x.dtype()), dgain = beside(x, {n}, dtype_of<A>),
                 dbias = beside(x, {n}, dtype_of<A>);
    const Tensor partials = beside(x, {layer_norm_partials(rows, n)}, dtype_of<A>);
    layer_norm_backward<T>(x.device_data<T>(), gain.device_data<A>(), g.device_data<T>(),
                           call.saved(0).device_data<A>(), call.saved(1).device_data<A>(), dx.device_data<T>(),
                           dgain.device_data<A>(), dbias.device_data<A>(), partials.device_data<A>(), rows, n,
                           compute_stream());
    call.set_gradient(0, dx);
    call.set_gradient(1, dgain);
    call.set_gradient(2, dbias);
  });
}

/// The axis moved to the end, contiguous; and the reverse of the move.
Tensor axis_last(const Tensor& x, int axis) {
  Shape shape, strides;
  for (int i = 0; i < x.rank(); ++i) {
    if (i == axis) continue;
    shape.push_back(x.shape()[i]);
    strides.push_back(x.strides()[i]);
  }
  shape.push_back(x.shape()[axis]);
  strides.push_back(x.strides()[axis]);
  return elements::contiguous(x.window(shape, strides, x.offset()));
}
Tensor axis_back(const Tensor& x, int axis) {
  Shape shape, strides;
  for (int i = 0, next = 0; i < x.rank(); ++i) {
    const int from = i == axis ? x.rank() - 1 : next++;
    shape.push_back(x.shape()[from]);
    strides.push_back(x.strides()[from]);
  }
  return x.window(shape, strides, x.offset());
}

void install_softmax(const OpSpec& spec, bool logarithm) {
  const auto forward = [logarithm](ForwardCall& call) {
    const int axis = normalize_axis(call.integer("axis"), call.input(0).rank());
    const Tensor x = axis_last(call.input(0), axis), y = beside(x, x.shape(), x.dtype());
    const std::int64_t n = x.shape().back();
    visit_floating_dtype(x.dtype(), [&]<class T>() {
      if (x.numel() > 0)
        softmax_forward<T>(x.device_data<T>(), y.device_data<T>(), x.numel() / n, n, logarithm, compute_stream());
    });
    call.set_output(0, axis_back(y, axis));
  };
  const auto backward = [logarithm](BackwardCall& call) {
    const int axis = normalize_axis(call.integer("axis"), call.input_spec(0).shape.rank());
    const Tensor y = axis_last(call.output(0), axis), g = axis_last(call.cotangent(), axis),
                 dx = beside(y, y.shape(), y.dtype());
    const std::int64_t n = y.shape().back();
    visit_floating_dtype(y.dtype(), [&]<class T>() {
      if (y.numel() > 0)
        softmax_backward<T>(y.device_data<T>(), g.device_data<T>(), dx.device_data<T>(), y.numel() / n, n, logarithm,
                            compute_stream());
    });
    call.set_gradient(0, axis_back(dx, axis));
  };
  install_kernels(Device::Kind::cuda, spec, {.forward = forward, .backward = backward, .bf16 = true});
}

void lose(ForwardCall& call) {
  const Tensor logits = elements::contiguous(call.input(0)), targets = elements::contiguous(call.input(1));
  const std::int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  visit_floating_dtype(logits.dtype(), [&]<class T>() {
    using A = Arithmetic<T>;
    const Tensor log_sums = beside(logits, {rows}, dtype_of<A>), counted = beside(logits, {1}, DType::i64);
    const Tensor partials = beside(logits, {cross_entropy_partials(rows)}, DType::f64);
    cross_entropy_forward<T>(logits.device_data<T>(), targets.device_data<std::int64_t>(), call.integer("ignore_index"),
                             call.output(0).device_data<A>(), log_sums.device_data<A>(),
                             counted.device_data<std::int64_t>(), partials.device_data<double>(), rows, classes,
                             compute_stream());
    call.save(log_sums);
    call.save(counted);
  });
}

void lose_backward(BackwardCall& call) {
  const Tensor logits = elements::contiguous(call.input(0)), targets = elements::contiguous(call.input(1));
  const Tensor gradient = beside(logits, logits.shape(), logits.dtype());
  visit_floating_dtype(logits.dtype(), [&]<class T>() {
    using A = Arithmetic<T>;
    const Tensor g = elements::contiguous(call.cotangent(), dtype_of<A>);
    cross_entropy_backward<T>(logits.device_data<T>(), targets.device_data<std::int64_t>(),
                              call.integer("ignore_index"), call.saved(0).device_data<A>(),
                              call.saved(1).device_data<std::int64_t>(), g.device_data<A>(), gradient.device_data<T>(),
                              logits.shape()[0], logits.shape()[1], compute_stream());
  });
  call.set_gradient(0, gradient);
}

Tensor turned(const Tensor& x, const Tensor& cosines, const Tensor& sines, bool back) {
  const Tensor packed = elements::contiguous(x), y = beside(x, x.shape(), x.dtype());
  const int rank = x.rank();
  const std::int64_t pairs = x.size(rank - 1) / 2;
  if (x.numel() == 0) return y;
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    using A = Arithmetic<T>;
    const Tensor c = elements::contiguous(cosines, dtype_of<A>), s = elements::contiguous(sines, dtype_of<A>);
    rotary<T>(packed.device_data<T>(), c.device_data<A>(), s.device_data<A>(), y.device_data<T>(),
              x.numel() / (2 * pairs), x.size(rank - 3), x.size(rank - 2), pairs, back, compute_stream());
  });
  return y;
}

}  // namespace

void install_rows() {
  install_kernels(Device::Kind::cuda, layer_norm_op(),
                  {.forward = normalise, .backward = normalise_backward, .bf16 = true});
  install_softmax(softmax_op(), false);
  install_softmax(log_softmax_op(), true);
  install_kernels(Device::Kind::cuda, cross_entropy_op(), {.forward = lose, .backward = lose_backward, .bf16 = true});
  install_kernels(Device::Kind::cuda, rotary_embedding_op(),
                  {.forward =
                       [](ForwardCall& call) {
                         call.set_output(0, turned(call.input(0), call.input(1), call.input(2), false));
                       },
                   .backward =
                       [](BackwardCall& call) {
                         call.set_gradient(0, turned(call.cotangent(), call.input(1), call.input(2), true));
                       },
                   .bf16 = true});
}

}  // namespace gradus::cuda
