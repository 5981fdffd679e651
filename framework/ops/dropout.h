// Dropout.
#pragma once

#include "framework/random/generator.h"
#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// Which elements are dropped: a function of these and of the element's number in row-major order.
struct DropoutDraw {
  double probability = 0;  ///< in [0, 1)
  std::int64_t seed = 0, stream = 0;
};

/// Sets each element to 0 with `probability` in [0, 1) and scales the others by 1 / (1 - probability). Whether element i
/// (in row-major order) is dropped is a function of (seed, stream, i): the mask is never stored.
/// Srivastava et al. 2014, Journal of Machine Learning Research 15.
Tensor dropout(const Tensor& x, double probability, std::int64_t seed, std::int64_t stream,
               SourceLocation where = SourceLocation::current());
/// The same with the next stream of `generator`.
Tensor dropout(const Tensor& x, double probability, Generator& generator, SourceLocation where = SourceLocation::current());

/// residual + dropout(update), of one shape, in one pass.
Tensor dropout_add(const Tensor& residual, const Tensor& update, const DropoutDraw& draw,
                   SourceLocation where = SourceLocation::current());

const OpSpec& dropout_op();
const OpSpec& dropout_add_op();

}  // namespace gradus
