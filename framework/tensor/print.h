// Tensors as text, for people.
#pragma once

#include <string>

#include "framework/tensor/tensor.h"

namespace gradus {

/// Nested brackets with `digits` significant digits; long axes are cut to their ends: `[[1, 2, ..., 9], ...]`.
std::string to_string(const Tensor& tensor, int digits = 4);

}  // namespace gradus
