// What the tape and the engine do on a CUDA device beside calling ops.
#include "framework/kernels/elements.h"

#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/tensor/creation.h"

namespace gradus::cuda {
namespace {

void copy(const Tensor& to, const Tensor& from) {
  const LoopNest nest = nest_of(to, {from});
  visit_dtype(to.dtype(), [&]<class To>() {
    visit_dtype(from.dtype(), [&]<class From>() {
      convert(space_of(nest), strided<To>(to.bytes(), nest.strides[0]),
              strided<const From>(from.bytes(), nest.strides[1]), compute_stream());
    });
  });
}

void add(const Tensor& out, const Tensor& a, const Tensor& b) {
  const LoopNest nest = nest_of(out, {a, b});
  visit_floating_dtype(out.dtype(), [&]<class T>() {
    map_pairs<T, T>(functions::Add{}, space_of(nest), strided<T>(out.bytes(), nest.strides[0]),
                    strided<const T>(a.bytes(), nest.strides[1]), strided<const T>(b.bytes(), nest.strides[2]),
                    compute_stream());
  });
}

}  // namespace

void install_elements() {
  const auto fill = [](const Tensor& to, double value) { copy(to, scalar(value, to.dtype(), to.device())); };
  install_element_kernels(Device::Kind::cuda, {.copy = copy,
                                               .fill = fill,
                                               .add = add,
                                               .sum = sum_over,
                                               .all_finite = all_finite,
                                               .first_outside = first_outside});
}

}  // namespace gradus::cuda
