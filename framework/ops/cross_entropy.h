// Cross-entropy of class predictions.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// Mean over the rows with targets[i] != ignore_index of -log softmax(logits[i])[targets[i]]. logits (N, V), targets (N)
/// i64; gives a scalar, NaN where every row is ignored. Throws where another target is outside 0..V-1.
Tensor cross_entropy(const Tensor& logits, const Tensor& targets, std::int64_t ignore_index = -100,
                     SourceLocation where = SourceLocation::current());

const OpSpec& cross_entropy_op();

}  // namespace gradus
