// Layer normalisation, alone and of a residual stream that is added to.
#pragma once

#include "framework/ops/dropout.h"
#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// Normalises the last axis to mean 0 and variance 1, then scales by `gain` and shifts by `bias`, both of its size.
/// Ba, Kiros and Hinton 2016, arXiv:1607.06450.
Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, double epsilon = 1e-5,
                  SourceLocation where = SourceLocation::current());

struct NormalisedSum {
  Tensor out, sum;
};

/// sum = residual + dropout(update), out = layer_norm(sum, gain, bias), in one pass over memory each way. Of one shape
/// (..., n); gain and bias (n). The values are those of the three ops but for rounding: in bf16 `out` is of the sum
/// before it is rounded.
NormalisedSum dropout_add_layer_norm(const Tensor& residual, const Tensor& update, const Tensor& gain,
                                     const Tensor& bias, double epsilon = 1e-5, const DropoutDraw& draw = {},
                                     SourceLocation where = SourceLocation::current());

const OpSpec& layer_norm_op();
const OpSpec& dropout_add_layer_norm_op();

}  // namespace gradus
