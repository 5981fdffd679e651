// Reductions over axes, in an order that depends on the shape alone.
#pragma once

#include <vector>

#include "framework/tensor/tensor.h"

namespace gradus::cpu {

/// The tensor rearranged as a contiguous (kept, reduced) matrix: rows are the elements of the result.
struct ReductionRows {
  Tensor matrix;
  std::int64_t rows, columns;
};
ReductionRows as_reduction_rows(const Tensor& tensor, const std::vector<bool>& reduced);

/// Sum over the axes marked in `reduced`, which keep size 1, converted to `dtype` at the end: sums of bf16 are f32.
Tensor sum(const Tensor& tensor, const std::vector<bool>& reduced, DType dtype);
/// Sum of squares of all elements times `unit`, accumulated in double.
double sum_of_squares(const Tensor& tensor, double unit = 1);
/// For each row the sum of (value - mean of the row)^2, accumulated in double.
std::vector<double> squared_deviations(const ReductionRows& rows);
/// No NaN and no infinity among the elements; true for integer tensors.
bool all_finite(const Tensor& tensor);

}  // namespace gradus::cpu
