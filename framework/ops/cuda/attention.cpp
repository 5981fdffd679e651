// CUDA kernels of attention.
#include "framework/kernels/cuda/attention.h"

#include "framework/ops/attention_layout.h"
#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/ops/device_kernels.h"
#include "framework/ops/ops.h"

namespace gradus::cuda {
namespace {

AttentionShape shape_of(const Tensor& q, const Tensor& k, const Tensor& v, const Attributes& attributes) {
  AttentionShape shape = attention_shape(q.shape(), k.shape(), v.shape(), attributes);
  shape.stream_offset = stream_offset();
  return shape;
}

void attend(ForwardCall& call) {
  const Tensor q = with_packed_rows(call.input(0)), k = with_packed_rows(call.input(1)),
               v = with_packed_rows(call.input(2));
  const AttentionShape s = shape_of(q, k, v, call.attributes());
  const Tensor out = heads_inside(call.promised()[0].shape, q);
  visit_floating_dtype(q.dtype(), [&]<class T>() {
    const Tensor log_sums = Tensor::empty({s.batches, s.heads, s.queries}, dtype_of<Arithmetic<T>>, q.device());
    attention_forward<T>(
        s, {view<T>(q), view<T>(k), view<T>(v), mutable_view<T>(out), log_sums.device_data<Arithmetic<T>>()},
        compute_stream());
    if (call.will_run_backward()) call.save(log_sums);
  });
  call.set_output(0, out);
}

void attend_backward(BackwardCall& call) {
  const Tensor q = with_packed_rows(call.input(0)), k = with_packed_rows(call.input(1)),
               v = with_packed_rows(call.input(2));
  const Tensor g = with_packed_rows(call.cotangent());
  const AttentionShape s = shape_of(q, k, v, call.attributes());
  const Tensor dq = heads_inside(q.shape(), q), dk = heads_inside(k.shape(), q), dv = heads_inside(v.shape(), q);
  visit_floating_dtype(q.dtype(), [&]<class T>() {
    using A = Arithmetic<T>;
    const Tensor dots = Tensor::empty({s.batches, s.heads, s.queries}, dtype_of<A>, q.device());
    attention_backward<T>(s,
                          {.q = view<T>(q),
                           .k = view<T>(k),
                           .v = view<T>(v),
                           .log_sums = call.saved(0).device_data<A>(),
                           .g = view<T>(g),
                           .dots = dots.device_data<A>(),
                           .dq = mutable_view<T>(dq),
                           .dk = mutable_view<T>(dk),
                           .dv = mutable_view<T>(dv)},
                          compute_stream());
  });
  if (call.needs(0)) call.set_gradient(0, dq);
  if (call.needs(1)) call.set_gradient(1, dk);
  if (call.needs(2)) call.set_gradient(2, dv);
}

}  // namespace

void install_attention() {
  install_kernels(Device::Kind::cuda, attention_op(), {.forward = attend, .backward = attend_backward, .bf16 = true});
}

}  // namespace gradus::cuda
