// What the costs of records are added up from.
#pragma once

#include "framework/ops/op_spec.h"

namespace gradus {

/// Those of all elements; undefined: none.
double bytes_of(const Tensor& tensor);
double bytes_of(const TensorSpec& spec);

/// Every element of every input read once, every element of every output written once.
double bytes_of_operands(const OpCall& call);

}  // namespace gradus
