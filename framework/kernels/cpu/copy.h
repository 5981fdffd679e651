// Copies between strided tensors, converting the dtype where the two differ.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus::cpu {

/// to[i] = from[i]; `from` broadcasts to the shape of `to`. Float to integer truncates; anything to bool is `!= 0`.
void copy(const Tensor& to, const Tensor& from);
/// The tensor itself where it is contiguous, else a packed copy.
Tensor contiguous(const Tensor& tensor);
/// The same, converted where its dtype is another.
Tensor contiguous(const Tensor& tensor, DType dtype);
/// A packed copy, always.
Tensor clone(const Tensor& tensor);

}  // namespace gradus::cpu
