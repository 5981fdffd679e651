// Layer normalisation.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// Normalises the last axis to mean 0 and variance 1, then scales by `gain` and shifts by `bias`, both of its size.
/// Ba, Kiros and Hinton 2016, arXiv:1607.06450.
Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, double epsilon = 1e-5,
                  SourceLocation where = SourceLocation::current());

const OpSpec& layer_norm_op();

}  // namespace gradus
