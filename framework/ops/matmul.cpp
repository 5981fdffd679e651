#include "framework/ops/matmul.h"

#include <cmath>
#include <limits>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/elementwise.h"
#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/elements.h"
#include "framework/ops/cost.h"
#include "framework/ops/matrix_layout.h"
#include "framework/ops/op_spec.h"
#include "framework/ops/ops.h"

namespace gradus {
namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// --- matmul ---------------------------------------------------------------------------------------------------------

template <class T>
void batched_product(const MatmulShape& s, const Matrices& a, const Matrices& b, T* out) {
  const std::int64_t count = s.batch.numel();
  const auto product = [&](std::int64_t i, auto run) {
    run(cpu::Matrix<T>{a.tensor.data<T>() + batch_offset(i, s.batch, a.batch_strides), a.row_stride, a.transposed},
        cpu::Matrix<T>{b.tensor.data<T>() + batch_offset(i, s.batch, b.batch_strides), b.row_stride, b.transposed},
        out + i * s.m * s.n);
  };
  if (count == 1) {
    product(0, [&](auto a, auto b, T* c) { cpu::gemm<T>(s.m, s.n, s.k, a, b, c, s.n); });
    return;
  }
  cpu::parallel_for(count, 1, s.m * s.n * s.k / 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      product(i, [&](auto a, auto b, T* c) { cpu::gemm_on_this_thread<T>(s.m, s.n, s.k, T(1), a, b, T(0), c, s.n); });
    }
  });
}

/// Row-major magnitudes: sums of |a| |b| bound the terms of every element.
double largest_magnitude(const Tensor& tensor) {
  double largest = 0;
  for (double value : tensor.to_vector<double>()) largest = std::max(largest, std::fabs(value));
  return largest;
}

// --- linear ---------------------------------------------------------------------------------------------------------

/// A contiguous tensor as rows of `width` elements.
template <class T>
cpu::Matrix<T> rows_of(const Tensor& tensor, std::int64_t width, bool transposed = false) {
  return {tensor.data<T>(), std::max<std::int64_t>(1, width), transposed};
}

}  // namespace

const OpSpec& matmul_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "matmul";
    spec.summary = "Matrix product of the last two axes; leading axes are batches and broadcast.";
    spec.math = "y[..., i, j] = sum over p of a[..., i, p] b[..., p, j]";
    spec.derivation = "a[i,p] meets b[p,j] in every y[i,j] of row i: dL/da[i,p] = sum_j g[i,j] b[p,j], that is g b^T; "
                      "in the same way dL/db = a^T g. A broadcast batch axis is summed.";
    spec.pitfalls = "Operands swapped or not transposed: shapes catch it unless the matrices are square.";
    spec.inputs = {{"a"}, {"b"}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      call.require_same_dtype(0, 1);
      if (call.input(0).rank() < 2 || call.input(1).rank() < 2) call.fail("both operands need at least two axes");
      return {{matmul_shape(call).out, call.input(0).dtype()}};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      const MatmulShape s = matmul_shape(call);
      const auto expanded = [&](const Tensor& x) {
        Shape shape = s.batch;
        shape.push_back(x.shape()[x.rank() - 2]);
        shape.push_back(x.shape().back());
        return x.window(shape, broadcast_strides(x, shape), x.offset()).to_vector<double>();
      };
      const std::vector<double> a = expanded(call.input(0)), b = expanded(call.input(1));
      std::vector<double> out(s.out.numel(), 0.0);
      for (std::int64_t batch = 0; batch < s.batch.numel(); ++batch) {
        for (std::int64_t i = 0; i < s.m; ++i) {
          for (std::int64_t j = 0; j < s.n; ++j) {
            for (std::int64_t p = 0; p < s.k; ++p) {
              out[(batch * s.m + i) * s.n + j] += a[(batch * s.m + i) * s.k + p] * b[(batch * s.k + p) * s.n + j];
            }
          }
        }
      }
      return {from_values(s.out, out, call.input(0).dtype())};
    };
    spec.saves = {.inputs = {0, 1}};
    spec.cpu.forward = [](ForwardCall& call) {
      const MatmulShape s = matmul_shape(call);
      if (s.out.numel() == 0) return;
      const Matrices a = blas_matrices(call.input(0), s.batch), b = blas_matrices(call.input(1), s.batch);
      visit_compute_dtype(call.input(0).dtype(), [&]<class T>() { batched_product<T>(s, a, b, call.output(0).fresh_data<T>()); });
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor g = call.cotangent();
      if (call.needs(0)) call.set_gradient(0, matmul(g, transpose(call.input(1))));
      if (call.needs(1)) call.set_gradient(1, matmul(transpose(call.input(0)), g));
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"matrices", {make.normal({3, 5}), make.normal({5, 2})}, {}},
              {"square", {make.normal({3, 3}), make.normal({3, 3})}, {}},
              {"batched", {make.normal({2, 3, 4}), make.normal({2, 4, 5})}, {}},
              {"broadcast batch", {make.normal({2, 1, 3, 4}), make.normal({3, 4, 2})}, {}},
              {"one matrix for all", {make.normal({3, 2, 4}), make.normal({4, 3})}, {}},
              {"row and column", {make.normal({1, 7}), make.normal({7, 1})}, {}},
              {"outer product", {make.normal({5, 1}), make.normal({1, 3})}, {}},
              {"several tiles", {make.normal({131, 67}), make.normal({67, 257})}, {}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({2, 2}, {inf, 1, nan, 0}), make.values({2, 2}, {1, 2, 1, 1e300})}, {}},
              {"empty inner axis", {make.normal({2, 0}), make.normal({0, 3})}, {}},
              {"no rows", {make.normal({0, 4}), make.normal({4, 3})}, {}},
              {"no batch", {make.normal({0, 2, 3}), make.normal({3, 2})}, {}},
              {"tall", {make.normal({1030, 3}), make.normal({3, 400})}, {}}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"inner", {make.normal({3, 4}), make.normal({5, 6})}, {}, "inner sizes differ: a (3,4) f64 cpu, b (5,6) f64 cpu"},
              {"batch", {make.normal({2, 3, 4}), make.normal({3, 4, 6})}, {}, "batch axes do not broadcast"},
              {"vector", {make.normal({4}), make.normal({4, 6})}, {}, "both operands need at least two axes"}};
    };
    spec.error_model.roundings = [](const OpCall& call) { return call.input(0).shape().back() + 2.0; };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors&) {
      return call.input(0).shape().back() * largest_magnitude(call.input(0)) * largest_magnitude(call.input(1));
    };
    spec.cost = [](const OpCall& call) -> Cost {
      const MatmulShape s = matmul_shape(call);
      return {2.0 * s.out.numel() * s.k, bytes_of_operands(call)};
    };
    return spec;
  }();
  return op;
}

const OpSpec& linear_op() {
  static const OpSpec op = [] {
    OpSpec spec;
    spec.name = "linear";
    spec.summary = "Affine map of the last axis.";
    spec.math = "y[..., o] = sum over i of x[..., i] weight[o, i] + bias[o]";
    spec.derivation = "With x as a matrix of rows: y = x w^T + b. dL/dx = g w, dL/dw = g^T x, and every row uses the bias "
                      "once, so dL/db is the sum of the rows of g.";
    spec.pitfalls = "The weight is stored (out, in), as in PyTorch; the bias gradient sums over every leading axis.";
    spec.inputs = {{"x"}, {"weight"}, {.name = "bias", .optional = true}};
    spec.infer = [](const OpCall& call) -> std::vector<TensorSpec> {
      call.require_compute_dtype(0);
      call.require_parameter_dtype(0, 1);
      call.require_rank(1, 2);
      const Shape& weight = call.input(1).shape();
      Shape shape = call.input(0).shape();
      if (shape.rank() == 0) call.fail("x needs at least one axis");
      if (shape.back() != weight[1]) call.fail("x has {} features, weight expects {}", shape.back(), weight[1]);
      if (call.has_input(2)) {
        call.require_parameter_dtype(0, 2);
        if (!(call.input(2).shape() == Shape{weight[0]})) call.fail("bias must have the shape ({})", weight[0]);
      }
      shape[shape.rank() - 1] = weight[0];
      return {{shape, call.input(0).dtype()}};
    };
    spec.reference = [](const OpCall& call) -> Tensors {
      const Tensor product = matmul(call.input(0).rank() == 1 ? reshape(call.input(0), {1, -1}) : call.input(0), transpose(call.input(1)));
      Shape shape = call.input(0).shape();
      shape[shape.rank() - 1] = call.input(1).shape()[0];
      const Tensor y = reshape(product, shape);
      return {call.has_input(2) ? y + call.input(2) : y};
    };
    spec.saves = {.inputs = {0, 1}};
    spec.cpu.bf16 = true;
    spec.cpu.forward = [](ForwardCall& call) {
      const Tensor x = cpu::contiguous(call.input(0));
      const LinearShape s = linear_shape(x.shape(), call.input(1).shape());
      visit_floating_dtype(x.dtype(), [&]<class T>() {
        const Tensor weight = cpu::contiguous(call.input(1), x.dtype());
        const Tensor bias = call.has_input(2) ? cpu::contiguous(call.input(2), dtype_of<Arithmetic<T>>) : Tensor();
        cpu::gemm<T>(s.rows, s.out, s.in, rows_of<T>(x, s.in), rows_of<T>(weight, s.in, true),
                     call.output(0).fresh_data<T>(), s.out, bias.defined() ? bias.data<Arithmetic<T>>() : nullptr);
      });
    };
    spec.cpu.backward = [](BackwardCall& call) {
      const Tensor x = cpu::contiguous(call.input(0)), g = cpu::contiguous(call.cotangent());
      const LinearShape s = linear_shape(x.shape(), call.input_spec(1).shape);
      visit_floating_dtype(g.dtype(), [&]<class T>() {
        if (call.needs(0)) {
          const Tensor weight = cpu::contiguous(call.input(1), x.dtype()), dx = Tensor::empty(x.shape(), x.dtype());
          cpu::gemm<T>(s.rows, s.in, s.out, rows_of<T>(g, s.out), rows_of<T>(weight, s.in), dx.fresh_data<T>(), s.in);
          call.set_gradient(0, dx);
        }
        if (call.needs(1)) {
          const Tensor dw = Tensor::empty({s.out, s.in}, dtype_of<Arithmetic<T>>);
          cpu::gemm<T>(s.out, s.in, s.rows, rows_of<T>(g, s.out, true), rows_of<T>(x, s.in),
                       dw.fresh_data<Arithmetic<T>>(), s.in);
          call.set_gradient(1, dw);
        }
      });
      if (call.has_input(2) && call.needs(2))
        call.set_gradient(2, elements::sum_to_shape(g, {s.out}, call.input_spec(2).dtype));
    };
    spec.backward_composite = [](BackwardCall& call) {
      const Tensor x = call.input(0), weight = call.input(1), g = call.cotangent();
      if (call.needs(0)) call.set_gradient(0, linear(g, transpose(weight)));
      if (call.needs(1)) {
        const LinearShape s = linear_shape(x.shape(), weight.shape());
        call.set_gradient(1, matmul(transpose(reshape(g, {s.rows, s.out})), reshape(x, {s.rows, s.in})));
      }
      if (call.has_input(2) && call.needs(2)) call.set_gradient(2, g);
    };
    spec.samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"rows", {make.normal({3, 5}), make.normal({2, 5}), make.normal({2})}, {}},
              {"no bias", {make.normal({3, 5}), make.normal({7, 5}), {}}, {}},
              {"batch of sequences", {make.normal({2, 3, 5}), make.normal({4, 5}), make.normal({4})}, {}},
              {"vector", {make.normal({5}), make.normal({3, 5}), make.normal({3})}, {}},
              {"one feature", {make.normal({7, 1}), make.normal({1, 1}), make.normal({1})}, {}},
              {"several tiles", {make.normal({131, 67}), make.normal({257, 67}), make.normal({257})}, {}}};
    };
    spec.edge_samples = [](SampleMaker& make) -> std::vector<Sample> {
      return {{"special values", {make.values({2, 2}, {inf, 1, nan, 0}), make.values({2, 2}, {1, 2, 1, 1e300}), make.values({2}, {0, 1})}, {}},
              {"no rows", {make.normal({0, 4}), make.normal({3, 4}), make.normal({3})}, {}},
              {"no features", {make.normal({2, 0}), make.normal({3, 0}), make.normal({3})}, {}}};
    };
    spec.error_samples = [](SampleMaker& make) -> std::vector<ErrorSample> {
      return {{"features", {make.normal({3, 4}), make.normal({2, 5}), {}}, {}, "x has 4 features, weight expects 5: x (3,4) f64 cpu, weight (2,5) f64 cpu"},
              {"bias", {make.normal({3, 5}), make.normal({2, 5}), make.normal({3})}, {}, "bias must have the shape (2)"},
              {"scalar", {make.normal({}), make.normal({2, 5}), {}}, {}, "x needs at least one axis"}};
    };
    spec.error_model.roundings = [](const OpCall& call) { return call.input(1).shape()[1] + 3.0; };
    spec.error_model.magnitude = [](const OpCall& call, const Tensors&) {
      return call.input(1).shape()[1] * largest_magnitude(call.input(0)) * largest_magnitude(call.input(1)) +
             (call.has_input(2) ? largest_magnitude(call.input(2)) : 0);
    };
    spec.cost = [](const OpCall& call) -> Cost {
      const LinearShape s = linear_shape(call.input(0).shape(), call.input(1).shape());
      return {double(s.rows) * s.out * (2.0 * s.in + call.has_input(2)), bytes_of_operands(call)};
    };
    return spec;
  }();
  return op;
}

Tensor matmul(const Tensor& a, const Tensor& b, SourceLocation where) { return apply(matmul_op(), {a, b}, {}, where)[0]; }
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, SourceLocation where) {
  return apply(linear_op(), {x, weight, bias}, {}, where)[0];
}

}  // namespace gradus
