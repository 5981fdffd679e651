#pragma once

#include "framework/gradus.h"

/// silu(gate) * value for each element; the shapes broadcast.
gradus::Tensor swiglu(const gradus::Tensor& gate, const gradus::Tensor& value,
                      gradus::SourceLocation where = gradus::SourceLocation::current());

/// The record, for the gradient checker.
const gradus::OpSpec& swiglu_op();
