#include "framework/kernels/cpu/copy.h"

#include <cstring>

#include "framework/kernels/cpu/elementwise.h"
#include "framework/kernels/shared/convert.h"

namespace gradus::cpu {
void copy(const Tensor& to, const Tensor& from) {
  visit_dtype(to.dtype(), [&]<class To>() {
    visit_dtype(from.dtype(), [&]<class From>() {
      map_elements<To>(
          to, [](From value) { return functions::convert<To>(value); }, Operand<From>{from});
    });
  });
}

Tensor clone(const Tensor& tensor) {
  Tensor packed = Tensor::empty(tensor.shape(), tensor.dtype(), tensor.device());
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

}  // namespace gradus::cpu
