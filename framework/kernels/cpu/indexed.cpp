#include "framework/kernels/cpu/indexed.h"

#include <algorithm>
#include <atomic>

#include "framework/kernels/cpu/copy.h"
#include "framework/kernels/cpu/parallel.h"

namespace gradus::cpu {
namespace {

/// Elements that a thread takes at a time.
constexpr std::int64_t turn = 16384;
/// Columns that a thread takes where several add to one row.
constexpr std::int64_t stripe = 32;

/// The index as rows along its last axis, and where in the table the elements of each start.
struct IndexRows {
  Shape shape, strides;  ///< of the index; of the table, 0 along the indexed axis
  int axis;
  std::int64_t step;  ///< in the table, from one index to the next

  IndexRows(const Shape& index, const Shape& table, int axis)
      : shape(index), strides(contiguous_strides(table)), axis(axis), step(strides[axis]) {
    strides[axis] = 0;
  }

  bool are_along_axis() const { return axis == shape.rank() - 1; }
  std::int64_t columns() const { return shape.back(); }
  std::int64_t count() const { return columns() == 0 ? 0 : shape.numel() / columns(); }
  /// The place of index 0 and column 0 of a row.
  std::int64_t start(std::int64_t row) const {
    std::int64_t place = 0;
    for (int i = shape.rank() - 2; i >= 0; --i) {
      place += row % shape[i] * strides[i];
      row /= shape[i];
    }
    return place;
  }
  /// How many rows differ along the indexed axis alone, and how far apart these are.
  std::int64_t alike() const { return are_along_axis() ? 1 : shape[axis]; }
  std::int64_t between_alike() const {
    std::int64_t rows = 1;
    for (int i = axis + 1; i < shape.rank() - 1; ++i) rows *= shape[i];
    return rows;
  }
};

/// A negative index is larger than any other. Of none: 0.
std::uint64_t largest_unsigned(const std::int64_t* indices, std::int64_t count) {
  std::uint64_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, static_cast<std::uint64_t>(indices[i]));
  return largest;
}

}  // namespace

std::int64_t first_outside(const Tensor& index, std::int64_t size, std::optional<std::int64_t> except) {
  const Tensor packed = contiguous(index);
  const std::int64_t* indices = packed.data<std::int64_t>();
  std::atomic<bool> any = false;
  parallel_for(packed.numel(), turn, 1, [&](std::int64_t begin, std::int64_t end) {
    if (largest_unsigned(indices + begin, end - begin) >= static_cast<std::uint64_t>(size)) any = true;
  });
  if (!any) return -1;
  const std::int64_t* const end = indices + packed.numel();
  const auto* const found = std::find_if(indices, end, [&](auto i) { return (i < 0 || i >= size) && i != except; });
  return found == end ? -1 : found - indices;
}

void gather(const Tensor& out, const Tensor& table, const Tensor& index, int axis) {
  const Tensor packed = contiguous(table), packed_index = contiguous(index);
  const IndexRows rows(index.shape(), table.shape(), axis);
  const std::int64_t columns = rows.columns(), step = rows.step;
  const std::int64_t* indices = packed_index.data<std::int64_t>();
  visit_dtype(table.dtype(), [&]<class T>() {
    const T* elements = packed.data<T>();
    T* result = out.fresh_data<T>();
    parallel_for(rows.count(), turn / std::max<std::int64_t>(columns, 1), 2 * columns, [&](auto begin, auto end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* from = elements + rows.start(row);
        const std::int64_t* at = indices + row * columns;
        T* to = result + row * columns;
        if (rows.are_along_axis()) {
#pragma omp simd
          for (std::int64_t j = 0; j < columns; ++j) to[j] = from[at[j]];
        } else {
#pragma omp simd
          for (std::int64_t j = 0; j < columns; ++j) to[j] = from[at[j] * step + j];
        }
      }
    });
  });
}

void scatter_add(const Tensor& table, const Tensor& source, const Tensor& index, int axis) {
  const Tensor packed = contiguous(source), packed_index = contiguous(index);
  const IndexRows rows(index.shape(), table.shape(), axis);
  if (source.numel() == 0) return;
  // Rows that are alike may add to the same elements, others never do: a thread has all that are alike, or a stripe of
  // them.
  const std::int64_t columns = rows.columns(), alike = rows.alike(), between = rows.between_alike(), step = rows.step;
  const std::int64_t width = rows.are_along_axis() ? columns : std::min(columns, stripe);
  const std::int64_t stripes = (columns + width - 1) / width, work = alike * width;
  const std::int64_t* indices = packed_index.data<std::int64_t>();
  visit_compute_dtype(table.dtype(), [&]<class T>() {
    const T* terms = packed.data<T>();
    T* sums = table.fresh_data<T>();
    parallel_for(rows.count() / alike * stripes, turn / work, 2 * work, [&](auto begin, auto end) {
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t group = unit / stripes, first = unit % stripes * width;
        const std::int64_t last = std::min(columns, first + width);
        const std::int64_t first_row = group / between * alike * between + group % between;
        T* to = sums + rows.start(first_row);
        for (std::int64_t row = first_row; row < first_row + alike * between; row += between) {
          const T* from = terms + row * columns;
          const std::int64_t* at = indices + row * columns;
          if (rows.are_along_axis()) {
            for (std::int64_t j = first; j < last; ++j) to[at[j]] += from[j];
          } else {
#pragma omp simd
            for (std::int64_t j = first; j < last; ++j) to[at[j] * step + j] += from[j];
          }
        }
      }
    });
  });
}

void select(const Tensor& out, const Tensor& table, const Tensor& index, int axis) {
  if (out.numel() == 0) return;
  const Tensor packed = contiguous(table), packed_index = contiguous(index);
  std::int64_t inner = 1;
  for (int i = axis + 1; i < table.rank(); ++i) inner *= table.shape()[i];
  const std::int64_t size = table.shape()[axis], count = index.numel();
  const std::int64_t* at = packed_index.data<std::int64_t>();
  visit_dtype(table.dtype(), [&]<class T>() {
    const T* elements = packed.data<T>();
    T* result = out.fresh_data<T>();
    parallel_for(out.numel() / inner, turn / inner, inner, [&](auto begin, auto end) {
      std::int64_t outer = begin / count, position = begin % count;
      for (std::int64_t slice = begin; slice < end; ++slice) {
        std::copy_n(elements + (outer * size + at[position]) * inner, inner, result + slice * inner);
        if (++position == count) {
          position = 0;
          ++outer;
        }
      }
    });
  });
}

void add_rows(const Tensor& table, const Tensor& source, const Tensor& ids) {
  const Tensor packed = contiguous(source), packed_ids = contiguous(ids);
  const std::int64_t count = ids.numel(), columns = table.shape()[1];
  const std::int64_t* id = packed_ids.data<std::int64_t>();
  visit_compute_dtype(table.dtype(), [&]<class T>() {
    const T* terms = packed.data<T>();
    T* sums = table.fresh_data<T>();
    parallel_for(columns, stripe, count, [&](auto begin, auto end) {
      for (std::int64_t i = 0; i < count; ++i) {
        T* to = sums + id[i] * columns;
        const T* from = terms + i * columns;
#pragma omp simd
        for (std::int64_t column = begin; column < end; ++column) to[column] += from[column];
      }
    });
  });
}

}  // namespace gradus::cpu
