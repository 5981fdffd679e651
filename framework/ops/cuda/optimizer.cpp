// CUDA kernels of the optimizer's steps.
#include "framework/kernels/cuda/optimizer.h"

#include <memory>
#include <vector>

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

/// What the updates of one launch share.
struct UpdateGroup {
  DType dtype;
  double beta1, beta2, epsilon, learning_rate;
  std::int64_t step;
  const void *factors, *if_finite;

  bool operator==(const UpdateGroup&) const = default;
};

/// Updates that wait for their launch.
struct Waiting {
  explicit Waiting(const UpdateGroup& group) : group(group) {}
  virtual ~Waiting() = default;
  virtual void queue() const = 0;

  const UpdateGroup group;
  Tensors kept = {};  ///< what the launch reads and nobody else may hold
};

template <class T>
struct Updates final : Waiting {
  using Waiting::Waiting;
  void queue() const override {
    const AdamWConstants constants{group.beta1, group.beta2, group.epsilon};
    adamw<T, T>(tensors, constants, adamw_step(group.beta1, group.beta2, group.learning_rate, group.step),
                static_cast<const AdamWStep*>(group.factors), nullptr, static_cast<const T*>(group.if_finite),
                compute_stream());
  }

  std::vector<AdamWTensor<T, T>> tensors = {};
};

/// The updates that wait, if they are of this group; else these are queued, and new ones begin.
template <class T>
Updates<T>& waiting_updates(JointUpdates& joint, const UpdateGroup& group) {
  const auto* waiting = static_cast<const Waiting*>(joint.gathered.get());
  if (!waiting || !(waiting->group == group)) {
    joint.finish();
    const std::shared_ptr<Waiting> updates = std::make_shared<Updates<T>>(group);
    joint.gathered = updates;
    joint.queue = [updates = updates.get()] { updates->queue(); };
  }
  return *static_cast<Updates<T>*>(static_cast<Waiting*>(joint.gathered.get()));
}

void step(ForwardCall& call) {
  for (std::size_t i : {0, 2, 3}) {
    if (!call.input(i).is_contiguous()) call.fail("{} must be contiguous", call.input_name(i));
  }
  const Tensor gradient = elements::contiguous(call.input(1));
  const Tensor factors = call.has_input(4) ? elements::contiguous(call.input(4), DType::f64) : Tensor();
  const Tensor if_finite = call.has_input(5) ? call.input(5) : Tensor();
  const UpdateGroup group{.dtype = gradient.dtype(),
                          .beta1 = call.number("beta1"),
                          .beta2 = call.number("beta2"),
                          .epsilon = call.number("epsilon"),
                          .learning_rate = call.number("learning_rate"),
                          .step = call.integer("step"),
                          .factors = factors.defined() ? factors.bytes() : nullptr,
                          .if_finite = if_finite.defined() ? if_finite.bytes() : nullptr};
  visit_compute_dtype(gradient.dtype(), [&]<class T>() {
    Updates<T> alone(group);
    JointUpdates* const joint = JointUpdates::current();
    Updates<T>& updates = joint ? waiting_updates<T>(*joint, group) : alone;
    updates.tensors.push_back({call.input(0).device_data<T>(), gradient.device_data<T>(),
                               call.input(2).device_data<T>(), call.input(3).device_data<T>(), nullptr,
                               gradient.numel(), call.number("weight_decay")});
    for (const Tensor& tensor : {call.input(0), gradient, call.input(2), call.input(3), factors, if_finite}) {
      updates.kept.push_back(tensor);
    }
    if (!joint) alone.queue();
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
