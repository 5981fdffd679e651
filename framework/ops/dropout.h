// Dropout.
#pragma once

#include "framework/random/generator.h"
#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// Sets each element to 0 with `probability` in [0, 1) and scales the others by 1 / (1 - probability). Whether element i
/// (in row-major order) is dropped is a function of (seed, stream, i): the mask is never stored.
/// Srivastava et al. 2014, Journal of Machine Learning Research 15.
Tensor dropout(const Tensor& x, double probability, std::int64_t seed, std::int64_t stream,
               SourceLocation where = SourceLocation::current());
/// The same with the next stream of `generator`.
Tensor dropout(const Tensor& x, double probability, Generator& generator, SourceLocation where = SourceLocation::current());

const OpSpec& dropout_op();

}  // namespace gradus
