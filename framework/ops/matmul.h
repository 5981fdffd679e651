// Matrix products.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// a (..., m, k) times b (..., k, n) gives (..., m, n); leading axes broadcast.
Tensor matmul(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());

/// x (..., in) weight^T + bias, with weight (out, in) and bias (out) or undefined; gives (..., out).
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {}, SourceLocation where = SourceLocation::current());

const OpSpec& matmul_op();
const OpSpec& linear_op();

}  // namespace gradus
