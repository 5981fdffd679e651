// Elements and slices of a table chosen by i64 indices along one axis: read, or added to, as in
// framework/kernels/cpu/indexed.h. All arrays are contiguous. Indices lie inside the table: who calls has checked it,
// by find_outside() or before they came to the device; the other kernels read and write wherever an index points.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "framework/base/bfloat16.h"
#include "framework/base/shape.h"
#include "framework/kernels/cuda/launch.h"

namespace gradus::cuda {

/// *left = count - i for the first i with index[i] outside 0..size-1 and not `except`; it stays 0 if there is none.
void find_outside(unsigned long long* left, const std::int64_t* index, std::int64_t count, std::int64_t size,
                  std::optional<std::int64_t> except, Stream stream);

/// out[o, j] = table[o, index[j]], slices of so many bytes: table (outer, size), index (count), out (outer, count). An
/// embedding is that of outer = 1.
void index_select(const void* table, const std::int64_t* index, void* out, std::int64_t outer, std::int64_t size,
                  std::int64_t count, std::int64_t slice_bytes, Stream stream);

/// out[i, j] = table[i, index[i, j]] where `axis` is the last one, likewise for others. Off the axis the sizes of the
/// index are no larger than the table's. For every dtype.
template <class T>
void gather(const T* table, const std::int64_t* index, T* out, const Shape& table_shape, const Shape& index_shape,
            int axis, Stream stream);

// What is added has no atomics: each element of the result searches the indices for its own, and so has one order of
// additions, the same for every launch and on every device. That suits tables of few rows, as those of characters; the
// work is rows of the table times indices. Sums are formed in Arithmetic<T> and rounded once. T: double, float,
// bfloat16.

/// table (rows, columns) = source (count, columns) added up by ids (count); 0 in rows that no id names. The gradient of
/// an embedding.
template <class T>
void embedding_add(const T* source, const std::int64_t* ids, T* table, Arithmetic<T>* partials, std::int64_t count,
                   std::int64_t rows, std::int64_t columns, Stream stream);
/// Elements of `partials`.
std::int64_t embedding_add_partials(std::int64_t count, std::int64_t rows, std::int64_t columns);

/// table[i, index[i, j]] += source[i, j], beginning with zeros: the adjoint of gather. The source has the shape of the
/// index.
template <class T>
void scatter_add(const T* source, const std::int64_t* index, T* table, const Shape& table_shape,
                 const Shape& index_shape, int axis, Stream stream);

/// The same by a thread for each element of the table, in the order of the source: the bits of the CPU.
template <class T>
void embedding_add_naive(const T* source, const std::int64_t* ids, T* table, std::int64_t count, std::int64_t rows,
                         std::int64_t columns, Stream stream);
template <class T>
void scatter_add_naive(const T* source, const std::int64_t* index, T* table, const Shape& table_shape,
                       const Shape& index_shape, int axis, Stream stream);

}  // namespace gradus::cuda
