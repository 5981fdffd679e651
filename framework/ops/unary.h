// Element-wise functions of one floating tensor.
#pragma once

#include "framework/ops/located.h"

namespace gradus {

struct OpSpec;

Tensor neg(const Tensor& x, SourceLocation where = SourceLocation::current());
Tensor exp(const Tensor& x, SourceLocation where = SourceLocation::current());
/// Natural logarithm; -inf at 0, NaN below.
Tensor log(const Tensor& x, SourceLocation where = SourceLocation::current());
Tensor sqrt(const Tensor& x, SourceLocation where = SourceLocation::current());
Tensor tanh(const Tensor& x, SourceLocation where = SourceLocation::current());
/// 1 / (1 + e^-x)
Tensor sigmoid(const Tensor& x, SourceLocation where = SourceLocation::current());
Tensor relu(const Tensor& x, SourceLocation where = SourceLocation::current());
Tensor abs(const Tensor& x, SourceLocation where = SourceLocation::current());
Tensor erf(const Tensor& x, SourceLocation where = SourceLocation::current());
/// x Phi(x), exactly (through erf). Hendrycks and Gimpel 2016, arXiv:1606.08415.
Tensor gelu(const Tensor& x, SourceLocation where = SourceLocation::current());
/// The tanh approximation of gelu, as GPT-2 used it.
Tensor gelu_tanh(const Tensor& x, SourceLocation where = SourceLocation::current());
/// x^exponent with a constant exponent.
Tensor pow(const Tensor& x, double exponent, SourceLocation where = SourceLocation::current());
/// min(max(x, low), high); low <= high.
Tensor clamp(const Tensor& x, double low, double high, SourceLocation where = SourceLocation::current());

inline Tensor operator-(Located x) { return neg(x.tensor, x.where); }

const OpSpec& neg_op();
const OpSpec& exp_op();
const OpSpec& log_op();
const OpSpec& sqrt_op();
const OpSpec& tanh_op();
const OpSpec& sigmoid_op();
const OpSpec& relu_op();
const OpSpec& abs_op();
const OpSpec& erf_op();
const OpSpec& gelu_op();
const OpSpec& gelu_tanh_op();
const OpSpec& pow_op();
const OpSpec& clamp_op();

}  // namespace gradus
