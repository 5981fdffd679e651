#include "framework/kernels/cpu/copy.h"

#include <cstring>

#include "framework/kernels/cpu/elementwise.h"

namespace gradus::cpu {
namespace {

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>) return value;
  else if constexpr (std::is_same_v<From, bfloat16>) return convert<To>(static_cast<float>(value));
  else if constexpr (std::is_same_v<To, bfloat16>) return bfloat16(static_cast<float>(value));
  else return static_cast<To>(value);
}

}  // namespace

void copy(const Tensor& to, const Tensor& from) {
  visit_dtype(to.dtype(), [&]<class To>() {
    visit_dtype(from.dtype(), [&]<class From>() {
      map_elements<To>(to, [](From value) { return convert<To>(value); }, Operand<From>{from});
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
