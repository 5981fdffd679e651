// Softmax and its logarithm along one axis. Masks are written as -infinity (masked_fill) before them.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// e^x_i / sum_j e^x_j along `axis`, computed stably. A row of nothing but -inf gives NaN.
Tensor softmax(const Tensor& x, std::int64_t axis = -1, SourceLocation where = SourceLocation::current());
/// x_i - ln sum_j e^x_j along `axis`.
Tensor log_softmax(const Tensor& x, std::int64_t axis = -1, SourceLocation where = SourceLocation::current());

const OpSpec& softmax_op();
const OpSpec& log_softmax_op();

}  // namespace gradus
