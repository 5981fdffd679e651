// Putting tensors together.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// The tensors one after another along `axis`; all other sizes must agree.
Tensor concat(const Tensors& tensors, std::int64_t axis = 0, SourceLocation where = SourceLocation::current());
/// Tensors of one shape along a new axis.
Tensor stack(const Tensors& tensors, std::int64_t axis = 0, SourceLocation where = SourceLocation::current());
/// x tiled `repeats[i]` times along axis i; one number for each axis.
Tensor repeat(const Tensor& x, const std::vector<std::int64_t>& repeats, SourceLocation where = SourceLocation::current());

const OpSpec& concat_op();
const OpSpec& stack_op();
const OpSpec& repeat_op();

}  // namespace gradus
