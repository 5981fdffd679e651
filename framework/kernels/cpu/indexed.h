// Elements and slices of a table chosen by i64 indices along one axis: read, or added to. Indices lie inside the table.
#pragma once

#include <optional>

#include "framework/tensor/tensor.h"

namespace gradus::cpu {

/// The first position, row-major, of an index that is not in 0..size-1 and not `except`; -1: there is none.
std::int64_t first_outside(const Tensor& index, std::int64_t size, std::optional<std::int64_t> except = {});

/// out[i, j] = table[i, index[i, j]] where `axis` is the last one, likewise for others. `out` is contiguous and has the
/// shape of the index, whose sizes off the axis are no larger than the table's.
void gather(const Tensor& out, const Tensor& table, const Tensor& index, int axis);

/// table[i, index[i, j]] += source[i, j], the additions to one element in the order of the source. `table` is
/// contiguous.
void scatter_add(const Tensor& table, const Tensor& source, const Tensor& index, int axis);

/// out[..., j, ...] = table[..., index[j], ...]: slices along `axis`, for an index of any shape. `out` is contiguous.
void select(const Tensor& out, const Tensor& table, const Tensor& index, int axis);

/// table (V, C) += rows of source (N, C) at ids (N), the additions to one row in their order. `table` is contiguous.
void add_rows(const Tensor& table, const Tensor& source, const Tensor& ids);

}  // namespace gradus::cpu
