// A range of one axis, which shares storage with the whole, and its adjoint.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// Elements start, start+step, ... below stop of one axis; 0 <= start <= stop <= size, step >= 1.
Tensor slice(const Tensor& x, std::int64_t axis, std::int64_t start, std::int64_t stop, std::int64_t step = 1,
             SourceLocation where = SourceLocation::current());
/// Zeros of size `size` along `axis`, with x at start, start+step, ...: the adjoint of slice.
Tensor unslice(const Tensor& x, std::int64_t axis, std::int64_t start, std::int64_t size, std::int64_t step = 1,
               SourceLocation where = SourceLocation::current());

const OpSpec& slice_op();
const OpSpec& unslice_op();

}  // namespace gradus
