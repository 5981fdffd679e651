// Element-wise arithmetic of two tensors, with broadcasting. Both must have the same dtype.
#pragma once

#include "framework/ops/located.h"

namespace gradus {

struct OpSpec;

/// a + b, element by element; shapes broadcast.
Tensor add(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
Tensor sub(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
Tensor mul(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
Tensor div(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
/// The larger of each pair; at a tie each operand gets half of the gradient. NaN wins.
Tensor maximum(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());
/// The smaller of each pair; at a tie each operand gets half of the gradient. NaN wins.
Tensor minimum(const Tensor& a, const Tensor& b, SourceLocation where = SourceLocation::current());

inline Tensor operator+(const Tensor& a, Located b) { return add(a, b.tensor, b.where); }
inline Tensor operator-(const Tensor& a, Located b) { return sub(a, b.tensor, b.where); }
inline Tensor operator*(const Tensor& a, Located b) { return mul(a, b.tensor, b.where); }
inline Tensor operator/(const Tensor& a, Located b) { return div(a, b.tensor, b.where); }
inline Tensor operator+(const Tensor& a, LocatedNumber b) {
  return add(a, scalar(b.number, a.dtype(), a.device()), b.where);
}
inline Tensor operator-(const Tensor& a, LocatedNumber b) {
  return sub(a, scalar(b.number, a.dtype(), a.device()), b.where);
}
inline Tensor operator*(const Tensor& a, LocatedNumber b) {
  return mul(a, scalar(b.number, a.dtype(), a.device()), b.where);
}
inline Tensor operator/(const Tensor& a, LocatedNumber b) {
  return div(a, scalar(b.number, a.dtype(), a.device()), b.where);
}
inline Tensor operator+(double a, Located b) {
  return add(scalar(a, b.tensor.dtype(), b.tensor.device()), b.tensor, b.where);
}
inline Tensor operator-(double a, Located b) {
  return sub(scalar(a, b.tensor.dtype(), b.tensor.device()), b.tensor, b.where);
}
inline Tensor operator*(double a, Located b) {
  return mul(scalar(a, b.tensor.dtype(), b.tensor.device()), b.tensor, b.where);
}
inline Tensor operator/(double a, Located b) {
  return div(scalar(a, b.tensor.dtype(), b.tensor.device()), b.tensor, b.where);
}

const OpSpec& add_op();
const OpSpec& sub_op();
const OpSpec& mul_op();
const OpSpec& div_op();
const OpSpec& maximum_op();
const OpSpec& minimum_op();

}  // namespace gradus
