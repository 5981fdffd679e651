// A matrix product without its types: what is checked, described, and handed to cuBLASLt.
#pragma once

#include "framework/base/dtype.h"
#include "framework/kernels/cuda/matrix_product.h"

namespace gradus::cuda::products {

struct Matrix {
  const void* data;
  std::int64_t stride;
  bool transposed;
  std::int64_t batch_stride;
};

struct Request {
  DType in, out;
  std::int64_t m, n, k, batches;
  Matrix a, b, c;
  double alpha, beta;
  Precision precision;
  Epilogue epilogue;
  const void* bias;
  Matrix pre_activation;
  const void* sums;
};

template <class T, class Out>
Request request_of(const MatrixProduct<T, Out>& p) {
  const auto matrix = [](const auto& x) { return Matrix{x.data, x.stride, false, x.batch_stride}; };
  Request request{dtype_of<T>,    dtype_of<Out>, p.m,         p.n,         p.k,
                  p.batches,      matrix(p.a),   matrix(p.b), matrix(p.c), double(p.alpha),
                  double(p.beta), p.precision,   p.epilogue,  p.bias,      matrix(p.pre_activation),
                  p.sums};
  request.a.transposed = p.a.transposed;
  request.b.transposed = p.b.transposed;
  return request;
}

constexpr bool adds_bias(Epilogue epilogue) { return epilogue == Epilogue::bias || epilogue == Epilogue::gelu; }
constexpr bool has_pre_activation(Epilogue epilogue) {
  return epilogue == Epilogue::gelu || epilogue == Epilogue::gelu_gradient;
}
constexpr bool has_sums(Epilogue epilogue) {
  return epilogue == Epilogue::sums_of_a || epilogue == Epilogue::sums_of_b;
}

/// `a (3,4) f32, b (4,5) f32 transposed, c (3,5) f32, epilogue gelu`.
std::string describe(const Request& request);

/// Throws ContractError if sizes, strides and pointers do not belong together.
void check(const Request& request);

}  // namespace gradus::cuda::products
