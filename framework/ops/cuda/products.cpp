// CUDA kernels of matrix products.
#include "framework/kernels/cuda/matrix_product.h"
#include "framework/kernels/elements.h"
#include "framework/ops/cuda/families.h"
#include "framework/ops/cuda/launching.h"
#include "framework/ops/device_kernels.h"
#include "framework/ops/matrix_layout.h"
#include "framework/ops/ops.h"
#include "framework/tensor/precision.h"

namespace gradus::cuda {
namespace {

Precision precision() { return product_precision() == ProductPrecision::tf32 ? Precision::tf32 : Precision::full; }

/// Batches whose matrices lie at one distance each are one product; other axes of the batch are gone through.
void multiply(ForwardCall& call) {
  const MatmulShape s = matmul_shape(call);
  if (s.out.numel() == 0) return;
  const Matrices a = blas_matrices(call.input(0), s.batch), b = blas_matrices(call.input(1), s.batch);
  const LoopNest nest(s.batch, {contiguous_strides(s.batch), a.batch_strides, b.batch_strides});
  const int inner = nest.shape.rank() - 1;
  const std::int64_t batches = nest.shape[inner];
  visit_floating_dtype(call.input(0).dtype(), [&]<class T>() {
    T* const out = call.output(0).device_data<T>();
    for (std::int64_t first = 0; first < nest.shape.numel(); first += batches) {
      const auto operand = [&](const Matrices& matrices, int number) -> MatrixOperand<T> {
        return {matrices.tensor.device_data<T>() + batch_offset(first, nest.shape, nest.strides[number]),
                matrices.row_stride, matrices.transposed, nest.strides[number][inner]};
      };
      matrix_product<T>({.m = s.m,
                         .n = s.n,
                         .k = s.k,
                         .a = operand(a, 1),
                         .b = operand(b, 2),
                         .c = {out + first * s.m * s.n, s.n, s.m * s.n},
                         .batches = batches,
                         .precision = precision()},
                        compute_stream());
    }
  });
}

/// A contiguous tensor as rows of `width` elements.
template <class T>
MatrixOperand<T> rows_of(const Tensor& tensor, std::int64_t width, bool transposed = false) {
  return {tensor.device_data<T>(), std::max<std::int64_t>(1, width), transposed};
}
template <class T>
MatrixOutput<T> rows_into(const Tensor& tensor, std::int64_t width) {
  return {tensor.device_data<T>(), std::max<std::int64_t>(1, width)};
}

void transform(ForwardCall& call) {
  const Tensor x = elements::contiguous(call.input(0));
  const LinearShape s = linear_shape(x.shape(), call.input(1).shape());
  const Tensor weight = elements::contiguous(call.input(1), x.dtype());
  const Tensor bias = call.has_input(2) ? elements::contiguous(call.input(2), x.dtype()) : Tensor();
  if (s.rows * s.out == 0) return;
  visit_floating_dtype(x.dtype(), [&]<class T>() {
    matrix_product<T>({.m = s.rows,
                       .n = s.out,
                       .k = s.in,
                       .a = rows_of<T>(x, s.in),
                       .b = rows_of<T>(weight, s.in, true),
                       .c = rows_into<T>(call.output(0), s.out),
                       .precision = precision(),
                       .epilogue = bias.defined() ? Epilogue::bias : Epilogue::none,
                       .bias = bias.defined() ? bias.device_data<T>() : nullptr},
                      compute_stream());
  });
}

/// dx = g weight; dweight = g^T x, and in the same product dbias, the sums of g's columns.
void transform_backward(BackwardCall& call) {
  const Tensor x = elements::contiguous(call.input(0)), g = elements::contiguous(call.cotangent());
  const LinearShape s = linear_shape(x.shape(), call.input_spec(1).shape);
  const bool sums = call.has_input(2) && call.needs(2);
  visit_floating_dtype(g.dtype(), [&]<class T>() {
    using A = Arithmetic<T>;
    if (call.needs(0)) {
      const Tensor weight = elements::contiguous(call.input(1), x.dtype());
      const Tensor dx = Tensor::empty(x.shape(), x.dtype(), x.device());
      if (dx.numel() > 0) {
        matrix_product<T>({.m = s.rows,
                           .n = s.in,
                           .k = s.out,
                           .a = rows_of<T>(g, s.out),
                           .b = rows_of<T>(weight, s.in),
                           .c = rows_into<T>(dx, s.in),
                           .precision = precision()},
                          compute_stream());
      }
      call.set_gradient(0, dx);
    }
    if (!call.needs(1)) return;
    const Tensor dw = Tensor::empty({s.out, s.in}, dtype_of<A>, x.device());
    const Tensor dbias = sums ? Tensor::empty({s.out}, dtype_of<A>, x.device()) : Tensor();
    matrix_product<T, A>({.m = s.out,
                          .n = s.in,
                          .k = s.rows,
                          .a = rows_of<T>(g, s.out, true),
                          .b = rows_of<T>(x, s.in),
                          .c = rows_into<A>(dw, s.in),
                          .precision = precision(),
                          .epilogue = sums ? Epilogue::sums_of_a : Epilogue::none,
                          .sums = sums ? dbias.device_data<A>() : nullptr},
                         compute_stream());
    call.set_gradient(1, dw);
    if (sums) call.set_gradient(2, elements::contiguous(dbias, call.input_spec(2).dtype));
  });
  if (sums && !call.needs(1)) call.set_gradient(2, elements::sum_to_shape(g, {s.out}, call.input_spec(2).dtype));
}

}  // namespace

void install_products() {
  install_kernels(Device::Kind::cuda, matmul_op(), {.forward = multiply, .bf16 = true});
  install_kernels(Device::Kind::cuda, linear_op(),
                  {.forward = transform, .backward = transform_backward, .bf16 = true});
}

}  // namespace gradus::cuda
