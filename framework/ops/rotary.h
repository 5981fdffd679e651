// Rotary position embedding.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// Turns each pair of neighbouring features (2i, 2i + 1) of x (..., T, H, D), D even, by an angle of its position t and of
/// i, the same for all heads: cosines and sines (T, D/2), which are constants. Of the dtype of x, or f32 beside bf16.
/// Su et al. 2021, arXiv:2104.09864, equation 15.
Tensor rotary_embedding(const Tensor& x, const Tensor& cosines, const Tensor& sines,
                        SourceLocation where = SourceLocation::current());

const OpSpec& rotary_embedding_op();

}  // namespace gradus
