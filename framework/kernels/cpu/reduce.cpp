#include "framework/kernels/cpu/reduce.h"

#include <cmath>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/parallel.h"

namespace gradus::cpu {
namespace {

/// Sixteen running sums of term(value) over a row, then their total: vectorises, and the order is fixed.
template <class Sum, class T, class Term>
Sum sum_in_lanes(const T* row, std::int64_t count, const Term& term) {
  constexpr int lanes = 16;
  Sum partial[lanes] = {};
  const std::int64_t whole = count / lanes * lanes;
  for (std::int64_t i = 0; i < whole; i += lanes) {
#pragma omp simd
    for (int lane = 0; lane < lanes; ++lane) partial[lane] += term(row[i + lane]);
  }
  for (std::int64_t i = whole; i < count; ++i) partial[i - whole] += term(row[i]);
  for (int width = lanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) partial[lane] += partial[lane + width];
  }
  return partial[0];
}

template <class T>
Arithmetic<T> row_sum(const T* row, std::int64_t count) {
  using Sum = Arithmetic<T>;
  return sum_in_lanes<Sum>(row, count, [](const T& value) { return Sum(value); });
}

/// Long rows in blocks, block sums added in order: the error grows with the number of blocks, not of elements.
template <class T>
Arithmetic<T> blocked_row_sum(const T* row, std::int64_t count) {
  constexpr std::int64_t block = 4096;
  Arithmetic<T> total = 0;
  for (std::int64_t first = 0; first < count; first += block) total += row_sum(row + first, std::min(block, count - first));
  return total;
}

constexpr std::int64_t term_block = 16384;

/// Sum of term(value) over a long row, in double: its blocks are shared by the threads, their sums added in order.
template <class T, class Term>
double sum_of_blocks(const T* row, std::int64_t count, const Term& term) {
  const std::int64_t blocks = (count + term_block - 1) / term_block;
  std::vector<double> partial(static_cast<std::size_t>(blocks));
  parallel_for(blocks, 4, term_block, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      partial[b] = sum_in_lanes<double>(row + b * term_block, std::min(term_block, count - b * term_block), term);
    }
  });
  return blocked_row_sum(partial.data(), blocks);
}

template <class T>
void sum_rows(const T* matrix, Arithmetic<T>* out, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t block = 65536;
  if (rows == 1 && columns > block) {
    const std::int64_t blocks = (columns + block - 1) / block;
    std::vector<Arithmetic<T>> partial(blocks);
    parallel_for(blocks, 1, block, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = begin; b < end; ++b) {
        partial[b] = blocked_row_sum(matrix + b * block, std::min(block, columns - b * block));
      }
    });
    out[0] = row_sum(partial.data(), blocks);
    return;
  }
  parallel_for(rows, std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(columns, 1)), columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) out[row] = blocked_row_sum(matrix + row * columns, columns);
  });
}

/// Column sums of (rows, columns): blocks of rows in parallel, their sums added in order.
template <class T>
void sum_columns(const T* matrix, Arithmetic<T>* out, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t block = 256;
  const std::int64_t blocks = std::max<std::int64_t>(1, (rows + block - 1) / block);
  using Sum = Arithmetic<T>;
  std::vector<Sum> partial(blocks * columns, Sum(0));
  parallel_for(blocks, 1, block * columns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      Sum* __restrict sums = partial.data() + b * columns;
      for (std::int64_t row = b * block; row < std::min(rows, (b + 1) * block); ++row) {
        const T* __restrict from = matrix + row * columns;
#pragma omp simd
        for (std::int64_t column = 0; column < columns; ++column) sums[column] += Sum(from[column]);
      }
    }
  });
  for (std::int64_t column = 0; column < columns; ++column) out[column] = partial[column];
  for (std::int64_t b = 1; b < blocks; ++b) {
    for (std::int64_t column = 0; column < columns; ++column) out[column] += partial[b * columns + column];
  }
}

template <class Function>
decltype(auto) visit_summable_dtype(DType dtype, Function&& function) {
  if (dtype == DType::i64) return function.template operator()<std::int64_t>();
  return visit_floating_dtype(dtype, function);
}

/// Sums of the marked axes, in the dtype that T is computed in.
Tensor sum_in_full(const Tensor& tensor, const std::vector<bool>& reduced) {
  Shape shape = tensor.shape();
  int leading = 0;  // reduced axes, if any, are all at the front
  while (leading < tensor.rank() && reduced[leading]) ++leading;
  bool columns_only = leading > 0 && leading < tensor.rank() && tensor.is_contiguous();
  for (int axis = 0; axis < tensor.rank(); ++axis) {
    if (reduced[axis]) shape[axis] = 1;
    columns_only &= reduced[axis] == (axis < leading);
  }
  return visit_summable_dtype(tensor.dtype(), [&]<class T>() {
    using Sum = Arithmetic<T>;
    const Tensor out = Tensor::empty(shape, dtype_of<Sum>, tensor.device());
    if (columns_only) {
      sum_columns(tensor.data<T>(), out.fresh_data<Sum>(), out.numel() ? tensor.numel() / out.numel() : 0, out.numel());
    } else {
      const ReductionRows rows = as_reduction_rows(tensor, reduced);
      sum_rows(rows.matrix.data<T>(), out.fresh_data<Sum>(), rows.rows, rows.columns);
    }
    return out;
  });
}

}  // namespace

ReductionRows as_reduction_rows(const Tensor& tensor, const std::vector<bool>& reduced) {
  Shape shape, strides;
  std::int64_t rows = 1, columns = 1;
  for (bool pass : {false, true}) {
    for (int axis = 0; axis < tensor.rank(); ++axis) {
      if (reduced[axis] != pass) continue;
      shape.push_back(tensor.shape()[axis]);
      strides.push_back(tensor.strides()[axis]);
      (pass ? columns : rows) *= tensor.shape()[axis];
    }
  }
  return {contiguous(tensor.window(shape, strides, tensor.offset())), rows, columns};
}

Tensor sum(const Tensor& tensor, const std::vector<bool>& reduced, DType dtype) {
  return contiguous(sum_in_full(tensor, reduced), dtype);
}

double sum_of_squares(const Tensor& tensor, double unit) {
  const Tensor packed = contiguous(tensor);
  return visit_compute_dtype(packed.dtype(), [&]<class T>() {
    const auto square = [unit](double value) { return (value * unit) * (value * unit); };
    return sum_of_blocks(packed.data<T>(), packed.numel(), square);
  });
}

std::vector<double> squared_deviations(const ReductionRows& rows) {
  const std::int64_t columns = rows.columns;
  std::vector<double> results(static_cast<std::size_t>(rows.rows));
  visit_compute_dtype(rows.matrix.dtype(), [&]<class T>() {
    const T* matrix = rows.matrix.data<T>();
    const auto deviations = [&](std::int64_t row, auto sum) {
      const T* values = matrix + row * columns;
      const double mean = sum(values, columns, [](double value) { return value; }) / double(columns);
      return sum(values, columns, [mean](double value) { return (value - mean) * (value - mean); });
    };
    const auto shared = [](const auto&... arguments) { return sum_of_blocks(arguments...); };
    const auto alone = [](const auto&... arguments) { return sum_in_lanes<double>(arguments...); };
    if (columns > term_block) {
      for (std::int64_t row = 0; row < rows.rows; ++row) results[row] = deviations(row, shared);
      return;
    }
    const std::int64_t grain = 32768 / std::max<std::int64_t>(columns, 1);
    parallel_for(rows.rows, grain, 4 * columns, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) results[row] = deviations(row, alone);
    });
  });
  return results;
}

bool all_finite(const Tensor& tensor) {
  if (!is_floating(tensor.dtype())) return true;
  const Tensor packed = contiguous(tensor);
  return visit_floating_dtype(packed.dtype(), [&]<class T>() {
    const T* data = packed.data<T>();
    using Sum = Arithmetic<T>;
    Sum sum = 0;  // x * 0 is 0 for every finite x and NaN otherwise
    for (std::int64_t i = 0; i < packed.numel(); ++i) sum += Sum(data[i]) * Sum(0);
    return sum == Sum(0);
  });
}

}  // namespace gradus::cpu
