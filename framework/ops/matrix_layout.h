// How matrix products read their calls, on every device.
#pragma once

#include <algorithm>

#include "framework/kernels/elements.h"
#include "framework/ops/op_spec.h"

namespace gradus {

struct MatmulShape {
  Shape batch, out;
  std::int64_t m, k, n;
};

inline MatmulShape matmul_shape(const OpCall& call) {
  const auto batch_axes = [](const Shape& shape) {
    Shape batch;
    for (int axis = 0; axis < shape.rank() - 2; ++axis) batch.push_back(shape[axis]);
    return batch;
  };
  const Shape &a = call.input(0).shape(), &b = call.input(1).shape();
  MatmulShape s{{}, {}, a[a.rank() - 2], a.back(), b.back()};
  if (b[b.rank() - 2] != s.k) call.fail("inner sizes differ");
  if (!broadcast_shapes(batch_axes(a), batch_axes(b), s.batch)) call.fail("batch axes do not broadcast");
  s.out = s.batch;
  s.out.push_back(s.m);
  s.out.push_back(s.n);
  return s;
}

/// The matrices of a tensor as BLAS can read them: unit stride along one of the two last axes, else a packed copy.
struct Matrices {
  Tensor tensor;
  std::int64_t row_stride;
  bool transposed;
  Shape batch_strides;  ///< in the broadcast batch shape
};

inline Matrices blas_matrices(Tensor tensor, const Shape& batch) {
  const auto readable = [](const Tensor& t) {
    const int r = t.rank();
    const std::int64_t rows = t.shape()[r - 2], columns = t.shape()[r - 1], down = t.strides()[r - 2],
                       right = t.strides()[r - 1];
    return (right == 1 && down >= std::max<std::int64_t>(1, columns)) ||
           (down == 1 && right >= std::max<std::int64_t>(1, rows));
  };
  if (!readable(tensor)) tensor = elements::clone(tensor);
  const int r = tensor.rank();
  const std::int64_t rows = tensor.shape()[r - 2], columns = tensor.shape()[r - 1];
  const std::int64_t down = tensor.strides()[r - 2], right = tensor.strides()[r - 1];
  const bool plain = right == 1 && down >= std::max<std::int64_t>(1, columns);
  const std::int64_t stride = std::max<std::int64_t>({1, plain ? down : right, plain ? columns : rows});
  Shape strides = Shape::filled(batch.rank(), 0);
  const int missing = batch.rank() - (r - 2);
  for (int axis = missing; axis < batch.rank(); ++axis) {
    strides[axis] = tensor.shape()[axis - missing] == 1 ? 0 : tensor.strides()[axis - missing];
  }
  return {tensor, stride, !plain, strides};
}

/// Of matrix `index`, row-major in the batch shape.
inline std::int64_t batch_offset(std::int64_t index, const Shape& batch, const Shape& strides) {
  std::int64_t offset = 0;
  for (int axis = batch.rank() - 1; axis >= 0; --axis) {
    offset += index % batch[axis] * strides[axis];
    index /= batch[axis];
  }
  return offset;
}

/// x (..., in) as rows, weight (out, in).
struct LinearShape {
  std::int64_t rows, in, out;
};

inline LinearShape linear_shape(const Shape& x, const Shape& weight) {
  std::int64_t rows = 1;
  for (int axis = 0; axis + 1 < x.rank(); ++axis) rows *= x[axis];
  return {rows, weight[1], weight[0]};
}

}  // namespace gradus
