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

/// The number as a scalar of the dtype and device of `x`; undefined, for the op to refuse, where `x` is.
Tensor scalar_like(const Tensor& x, double number);

inline Tensor operator+(const Tensor& a, Located b) { return add(a, b.tensor, b.where); }
inline Tensor operator-(const Tensor& a, Located b) { return sub(a, b.tensor, b.where); }
inline Tensor operator*(const Tensor& a, Located b) { return mul(a, b.tensor, b.where); }
inline Tensor operator/(const Tensor& a, Located b) { return div(a, b.tensor, b.where); }
inline Tensor operator+(const Tensor& a, LocatedNumber b) { return add(a, scalar_like(a, b.number), b.where); }
inline Tensor operator-(const Tensor& a, LocatedNumber b) { return sub(a, scalar_like(a, b.number), b.where); }
inline Tensor operator*(const Tensor& a, LocatedNumber b) { return mul(a, scalar_like(a, b.number), b.where); }
inline Tensor operator/(const Tensor& a, LocatedNumber b) { return div(a, scalar_like(a, b.number), b.where); }
inline Tensor operator+(double a, Located b) { return add(scalar_like(b.tensor, a), b.tensor, b.where); }
inline Tensor operator-(double a, Located b) { return sub(scalar_like(b.tensor, a), b.tensor, b.where); }
inline Tensor operator*(double a, Located b) { return mul(scalar_like(b.tensor, a), b.tensor, b.where); }
inline Tensor operator/(double a, Located b) { return div(scalar_like(b.tensor, a), b.tensor, b.where); }

const OpSpec& add_op();
const OpSpec& sub_op();
const OpSpec& mul_op();
const OpSpec& div_op();
const OpSpec& maximum_op();
const OpSpec& minimum_op();

}  // namespace gradus
