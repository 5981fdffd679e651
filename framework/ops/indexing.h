// Reading and adding at computed places. Indices are i64; one outside its axis is an error that names it.
#pragma once

#include "framework/tensor/tensor.h"

namespace gradus {

struct OpSpec;

/// y[i][j] = x[i][index[i][j]] along `axis` (here the last): index has the rank of x and no larger size off the axis.
Tensor gather(const Tensor& x, std::int64_t axis, const Tensor& index, SourceLocation where = SourceLocation::current());
/// The adjoint of gather: zeros with `size` along `axis`, to which source[i][j] is added at index[i][j].
Tensor scatter_add(const Tensor& source, std::int64_t axis, const Tensor& index, const Shape& shape,
                   SourceLocation where = SourceLocation::current());
/// The slices of x at the positions `index` (1-d) of `axis`, in that order; positions may recur.
Tensor index_select(const Tensor& x, std::int64_t axis, const Tensor& index, SourceLocation where = SourceLocation::current());
/// Rows of a table: weight (V, C), ids of any shape; gives ids.shape + (C).
Tensor embedding(const Tensor& weight, const Tensor& ids, SourceLocation where = SourceLocation::current());
/// The adjoint of embedding: a (rows, C) table of zeros to whose row ids[i] the row i of `source` is added, in order.
Tensor embedding_add(const Tensor& source, const Tensor& ids, std::int64_t rows, SourceLocation where = SourceLocation::current());

const OpSpec& gather_op();
const OpSpec& scatter_add_op();
const OpSpec& index_select_op();
const OpSpec& embedding_op();
const OpSpec& embedding_add_op();

}  // namespace gradus
