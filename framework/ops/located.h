// Operators (+, *, ...) cannot take a default argument for the caller's place in the source. Their right operand does
// it for them: it is converted to a Located, at the place where the expression stands.
#pragma once

#include "framework/tensor/creation.h"

namespace gradus {

struct Located {
  Located(const Tensor& tensor, SourceLocation where = SourceLocation::current()) : tensor(tensor), where(where) {}
  const Tensor& tensor;
  SourceLocation where;
};

struct LocatedNumber {
  LocatedNumber(double number, SourceLocation where = SourceLocation::current()) : number(number), where(where) {}
  double number;
  SourceLocation where;
};

}  // namespace gradus
