#include "framework/kernels/elements.h"

#include <optional>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/elementwise.h"
#include "framework/kernels/cpu/indexed.h"
#include "framework/kernels/cpu/reduce.h"
#include "framework/tensor/capture.h"

namespace gradus {
namespace {

void fill_on_cpu(const Tensor& to, double value) {
  const Tensor constant = Tensor::empty({}, DType::f64);
  *constant.fresh_data<double>() = value;
  cpu::copy(to, constant);
}

void add_on_cpu(const Tensor& out, const Tensor& a, const Tensor& b) {
  visit_floating_dtype(out.dtype(), [&]<class T>() {
    constexpr auto plus = [](T x, T y) { return T(Arithmetic<T>(x) + Arithmetic<T>(y)); };
    cpu::map_elements<T>(out, plus, cpu::Operand<T>{a}, cpu::Operand<T>{b});
  });
}

const ElementKernels& cpu_kernels() {
  static const ElementKernels kernels{.copy = cpu::copy,
                                      .fill = fill_on_cpu,
                                      .add = add_on_cpu,
                                      .sum = cpu::sum,
                                      .all_finite = cpu::all_finite,
                                      .first_outside = cpu::first_outside};
  return kernels;
}

std::optional<ElementKernels>& cuda_kernels() {
  static std::optional<ElementKernels> kernels;
  return kernels;
}

const ElementKernels& kernels_of(const Tensor& tensor) {
  if (tensor.device().kind == Device::Kind::cpu) return cpu_kernels();
  if (!cuda_kernels()) fail("no kernels are installed for {}", to_string(tensor.device()));
  return *cuda_kernels();
}

}  // namespace

void install_element_kernels(Device::Kind kind, ElementKernels kernels) {
  if (kind == Device::Kind::cpu) fail("the CPU has its kernels already");
  cuda_kernels() = std::move(kernels);
}

namespace elements {

void copy(const Tensor& to, const Tensor& from) { kernels_of(to).copy(to, on_device(from, to.device())); }
void fill(const Tensor& to, double value) { kernels_of(to).fill(to, value); }
void add(const Tensor& out, const Tensor& a, const Tensor& b) {
  if (a.device() != out.device() || b.device() != out.device()) {
    fail("{} and {} cannot be added into {}: they are on different devices", a.describe(), b.describe(),
         out.describe());
  }
  kernels_of(out).add(out, a, b);
}
bool all_finite(const Tensor& tensor) { return kernels_of(tensor).all_finite(tensor); }

std::int64_t first_outside(const Tensor& index, std::int64_t size, std::optional<std::int64_t> except) {
  if (Capture* capture = current_capture(); capture && capture->device == index.device()) {
    capture->bounds.push_back({index.alias(), size, except});  // it has no values yet
    return -1;
  }
  return kernels_of(index).first_outside(index, size, except);
}

Tensor sum(const Tensor& tensor, const std::vector<bool>& reduced) {
  return kernels_of(tensor).sum(tensor, reduced, tensor.dtype());
}

Tensor sum_to_shape(const Tensor& tensor, const Shape& shape) { return sum_to_shape(tensor, shape, tensor.dtype()); }

Tensor sum_to_shape(const Tensor& tensor, const Shape& shape, DType dtype) {
  const int missing = tensor.rank() - shape.rank();
  std::vector<bool> reduced(tensor.rank());
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    reduced[axis] = axis < missing || (shape[axis - missing] == 1 && tensor.shape()[axis] != 1);
  }
  return kernels_of(tensor).sum(tensor, reduced, dtype).window(shape, contiguous_strides(shape), 0);
}

Tensor clone(const Tensor& tensor) {
  const Tensor packed = Tensor::empty(tensor.shape(), tensor.dtype(), tensor.device());
  copy(packed, tensor);
  return packed;
}

Tensor contiguous(const Tensor& tensor) { return tensor.is_contiguous() ? tensor : clone(tensor); }

Tensor contiguous(const Tensor& tensor, DType dtype) {
  if (tensor.dtype() == dtype) return contiguous(tensor);
  const Tensor converted = Tensor::empty(tensor.shape(), dtype, tensor.device());
  copy(converted, tensor);
  return converted;
}

}  // namespace elements
}  // namespace gradus
