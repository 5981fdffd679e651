#include "framework/kernels/cpu/attention.h"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/random_words.h"
#include "framework/kernels/cpu/small_gemm.h"
#include "framework/kernels/shared/scalar_math.h"

namespace gradus::cpu {
namespace {

constexpr std::int64_t tile_rows = 32;

/// Columns of a matrix with room for whole steps of small_gemm.
template <class A>
std::int64_t padded(std::int64_t columns) {
  return (columns + small_gemm_step<A> - 1) / small_gemm_step<A> * small_gemm_step<A>;
}

/// Memory of the calling thread for the matrices of one piece of work; what the last piece took is taken again.
template <class A>
class Workspace {
 public:
  explicit Workspace(std::int64_t elements) {
    thread_local std::vector<A> memory;
    const std::size_t needed = elements + small_gemm_step<A>;
    if (memory.size() < needed) memory.resize(needed);
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    next_ = reinterpret_cast<A*>((address + 63) / 64 * 64);
  }
  /// (rows, columns) with columns padded already, so that every row begins a cache line.
  A* matrix(std::int64_t rows, std::int64_t columns) { return std::exchange(next_, next_ + rows * columns); }

 private:
  A* next_;
};

/// Keys of the segment that its queries first..first+rows-1 can see.
std::int64_t visible_keys(const AttentionShape& s, const AttentionSegment& segment, std::int64_t first,
                          std::int64_t rows) {
  return s.causal ? std::min(segment.keys, first + rows) : segment.keys;
}

/// What e^(x - peak) of a masked score is taken of: too small to count in any sum, and no denormal.
constexpr int masked = -80;

/// x[0..n) becomes e^(x - peak) / sum and the rest of the last step 0; returns peak + ln sum. There is room for whole steps,
/// and only whole ones are computed: rows are short, a loop over what is left over would cost as much as the rest.
template <class A>
A softmax_in_place(A* x, std::int64_t n) {
  const std::int64_t whole = padded<A>(n);
  std::fill(x + n, x + whole, -std::numeric_limits<A>::infinity());
  A peak = -std::numeric_limits<A>::infinity();
#pragma omp simd reduction(max : peak)
  for (std::int64_t j = 0; j < whole; ++j) peak = x[j] > peak ? x[j] : peak;
  std::fill(x + n, x + whole, peak + masked);
  A sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < whole; ++j) {
    x[j] = functions::exp(x[j] - peak);
    sum += x[j];
  }
  const A inverse = A(1) / sum;
#pragma omp simd
  for (std::int64_t j = 0; j < whole; ++j) x[j] *= inverse;
  std::fill(x + n, x + whole, A(0));
  return peak + std::log(sum);
}

/// The words that decide over the first n weights of a segment's query. Philox gives them in fours.
const std::uint32_t* row_words(const AttentionShape& s, const AttentionSegment& segment, std::int64_t pair,
                               std::int64_t query, std::int64_t n) {
  const std::int64_t skipped = segment.first_key % 4, row = pair * s.queries + segment.first_query + query;
  thread_local std::vector<std::uint32_t> words;
  if (static_cast<std::int64_t>(words.size()) < segment.keys + 40) words.resize(segment.keys + 40);
  random_words(s.seed, s.stream, row * s.word_stride() + segment.first_key - skipped, n + skipped, words.data());
  return words.data() + skipped;
}

/// Work of one segment under one head, on average.
std::int64_t work_of(const AttentionShape& s) {
  std::int64_t pairs = 0;
  for (const AttentionSegment& segment : s.segments) pairs += segment.queries * segment.keys;
  return pairs * (s.width + s.value_width + 16) / 8 /
         std::max<std::int64_t>(1, static_cast<std::int64_t>(s.segments.size()));
}

/// Calls body(pair, segment) for every head of every batch and every segment, in parallel.
template <class Body>
void for_each_segment(const AttentionShape& s, Body&& body) {
  const auto count = static_cast<std::int64_t>(s.segments.size());
  parallel_for(s.batches * s.heads * count, 1, work_of(s), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t item = begin; item < end; ++item) body(item / count, s.segments[item % count]);
  });
}

template <class View>
auto at(const View& view, const AttentionShape& s, std::int64_t pair, std::int64_t row) {
  return view.data + pair / s.heads * view.batch_stride + pair % s.heads * view.head_stride + row * view.row_stride;
}

/// Rows first..first+count-1 of a head times `factor`, as (count, padded width) with zeros behind.
template <class T, class A = Arithmetic<T>>
void load_rows(HeadView<T> view, const AttentionShape& s, std::int64_t pair, std::int64_t first, std::int64_t count,
               std::int64_t width, A factor, A* to) {
  const std::int64_t stride = padded<A>(width);
  for (std::int64_t row = 0; row < count; ++row, to += stride) {
    const T* from = at(view, s, pair, first + row);
#pragma omp simd
    for (std::int64_t d = 0; d < width; ++d) to[d] = A(from[d]) * factor;
    std::fill(to + width, to + stride, A(0));
  }
}

/// (count, padded width) to rows of a head, times `factor`.
template <class T, class A = Arithmetic<T>>
void store_rows(const A* from, MutableHeadView<T> view, const AttentionShape& s, std::int64_t pair, std::int64_t first,
                std::int64_t count, std::int64_t width, A factor) {
  for (std::int64_t row = 0; row < count; ++row, from += padded<A>(width)) {
    T* to = at(view, s, pair, first + row);
#pragma omp simd
    for (std::int64_t d = 0; d < width; ++d) to[d] = T(from[d] * factor);
  }
}

/// (count, padded width) -> (width, padded count), with zeros behind.
template <class A>
void transpose_rows(const A* from, std::int64_t count, std::int64_t width, A* to) {
  const std::int64_t from_stride = padded<A>(width), to_stride = padded<A>(count);
  for (std::int64_t d = 0; d < width; ++d) {
    for (std::int64_t j = 0; j < count; ++j) to[d * to_stride + j] = from[j * from_stride + d];
    std::fill(to + d * to_stride + count, to + (d + 1) * to_stride, A(0));
  }
}

}  // namespace

template <class T>
void attention_forward(const AttentionShape& s, HeadView<T> q, HeadView<T> k, HeadView<T> v, MutableHeadView<T> out,
                       Arithmetic<T>* log_sums) {
  using A = Arithmetic<T>;
  const std::uint32_t threshold = dropout_threshold(s.dropout);
  const A keep_scale = A(1 / (1 - s.dropout));
  const std::int64_t width = padded<A>(s.width), value_width = padded<A>(s.value_width);
  for_each_segment(s, [&](std::int64_t pair, const AttentionSegment& segment) {
    const std::int64_t room = padded<A>(segment.keys);
    Workspace<A> workspace(segment.keys * (width + value_width) + s.width * room +
                           tile_rows * (width + value_width + room));
    A* const keys = workspace.matrix(segment.keys, width);
    A* const keys_transposed = workspace.matrix(s.width, room);
    A* const values = workspace.matrix(segment.keys, value_width);
    A* const queries = workspace.matrix(tile_rows, width);
    A* const weights = workspace.matrix(tile_rows, room);
    A* const mixed = workspace.matrix(tile_rows, value_width);
    load_rows(k, s, pair, segment.first_key, segment.keys, s.width, A(1), keys);
    transpose_rows(keys, segment.keys, s.width, keys_transposed);
    load_rows(v, s, pair, segment.first_key, segment.keys, s.value_width, A(1), values);
    for (std::int64_t first = 0; first < segment.queries; first += tile_rows) {
      const std::int64_t rows = std::min(tile_rows, segment.queries - first),
                         visible = visible_keys(s, segment, first, rows), query = segment.first_query + first;
      load_rows(q, s, pair, query, rows, s.width, A(s.scale), queries);
      small_gemm(rows, visible, s.width, queries, width, 1, keys_transposed, room, weights, room);
      for (std::int64_t i = 0; i < rows; ++i) {
        A* p = weights + i * room;
        const std::int64_t seen = visible_keys(s, segment, first + i, 1);
        log_sums[pair * s.queries + query + i] = softmax_in_place(p, seen);
        if (s.dropout > 0) drop(p, row_words(s, segment, pair, first + i, seen), padded<A>(seen), threshold, keep_scale, p);
        if (seen < visible) std::fill(p + seen, p + visible, A(0));
      }
      small_gemm(rows, s.value_width, visible, weights, room, 1, values, value_width, mixed, value_width);
      store_rows(mixed, out, s, pair, query, rows, s.value_width, A(1));
    }
  });
}

template <class T>
void attention_backward(const AttentionShape& s, HeadView<T> q, HeadView<T> k, HeadView<T> v,
                        const Arithmetic<T>* log_sums, HeadView<T> g, MutableHeadView<T> dq, MutableHeadView<T> dk,
                        MutableHeadView<T> dv) {
  using A = Arithmetic<T>;
  const std::uint32_t threshold = dropout_threshold(s.dropout);
  const A keep_scale = A(1 / (1 - s.dropout));
  const std::int64_t width = padded<A>(s.width), value_width = padded<A>(s.value_width);
  for_each_segment(s, [&](std::int64_t pair, const AttentionSegment& segment) {
    const std::int64_t room = padded<A>(segment.keys);
    Workspace<A> workspace(2 * segment.keys * (width + value_width) + (s.width + s.value_width) * room +
                           tile_rows * (2 * width + value_width + 2 * room));
    A* const keys = workspace.matrix(segment.keys, width);
    A* const keys_transposed = workspace.matrix(s.width, room);
    A* const values = workspace.matrix(segment.keys, value_width);
    A* const values_transposed = workspace.matrix(s.value_width, room);
    A* const key_gradients = workspace.matrix(segment.keys, width);
    A* const value_gradients = workspace.matrix(segment.keys, value_width);
    A* const queries = workspace.matrix(tile_rows, width);
    A* const query_gradients = workspace.matrix(tile_rows, width);
    A* const cotangents = workspace.matrix(tile_rows, value_width);
    A* const weights = workspace.matrix(tile_rows, room);           // p, then p times the dropout factors
    A* const weight_gradients = workspace.matrix(tile_rows, room);  // dL/dp, then dL/ds
    load_rows(k, s, pair, segment.first_key, segment.keys, s.width, A(1), keys);
    transpose_rows(keys, segment.keys, s.width, keys_transposed);
    load_rows(v, s, pair, segment.first_key, segment.keys, s.value_width, A(1), values);
    transpose_rows(values, segment.keys, s.value_width, values_transposed);
    std::fill_n(key_gradients, segment.keys * width, A(0));
    std::fill_n(value_gradients, segment.keys * value_width, A(0));
    for (std::int64_t first = 0; first < segment.queries; first += tile_rows) {
      const std::int64_t rows = std::min(tile_rows, segment.queries - first),
                         visible = visible_keys(s, segment, first, rows), query = segment.first_query + first;
      load_rows(q, s, pair, query, rows, s.width, A(s.scale), queries);
      load_rows(g, s, pair, query, rows, s.value_width, A(1), cotangents);
      small_gemm(rows, visible, s.width, queries, width, 1, keys_transposed, room, weights, room);
      small_gemm(rows, visible, s.value_width, cotangents, value_width, 1, values_transposed, room, weight_gradients,
                 room);
      for (std::int64_t i = 0; i < rows; ++i) {
        A* p = weights + i * room;
        A* ds = weight_gradients + i * room;
        const std::int64_t seen = visible_keys(s, segment, first + i, 1);
        const std::int64_t whole = padded<A>(seen);
        const A log_sum = log_sums[pair * s.queries + query + i];
        const std::uint32_t* words = s.dropout > 0 ? row_words(s, segment, pair, first + i, seen) : nullptr;
        std::fill(p + seen, p + whole, log_sum + masked);
        std::fill(ds + seen, ds + whole, A(0));
        if (words) drop(ds, words, whole, threshold, keep_scale, ds);
        A dot = 0;  // sum over j of p dL/dp
#pragma omp simd reduction(+ : dot)
        for (std::int64_t j = 0; j < whole; ++j) {
          p[j] = functions::exp(p[j] - log_sum);
          dot += p[j] * ds[j];
        }
#pragma omp simd
        for (std::int64_t j = 0; j < whole; ++j) ds[j] = p[j] * (ds[j] - dot);
        if (words) drop(p, words, whole, threshold, keep_scale, p);
        if (seen < visible || seen < whole) {
          std::fill(p + seen, p + std::max(visible, whole), A(0));
          std::fill(ds + seen, ds + std::max(visible, whole), A(0));
        }
      }
      small_gemm(rows, s.width, visible, weight_gradients, room, 1, keys, width, query_gradients, width);
      store_rows(query_gradients, dq, s, pair, query, rows, s.width, A(s.scale));
      small_gemm(visible, s.width, rows, weight_gradients, 1, room, queries, width, key_gradients, width, true);
      small_gemm(visible, s.value_width, rows, weights, 1, room, cotangents, value_width, value_gradients, value_width,
                 true);
    }
    store_rows(key_gradients, dk, s, pair, segment.first_key, segment.keys, s.width, A(1));
    store_rows(value_gradients, dv, s, pair, segment.first_key, segment.keys, s.value_width, A(1));
  });
}

#define GRADUS_INSTANTIATE(T)                                                                                          \
  template void attention_forward(const AttentionShape&, HeadView<T>, HeadView<T>, HeadView<T>, MutableHeadView<T>,    \
                                  Arithmetic<T>*);                                                                     \
  template void attention_backward(const AttentionShape&, HeadView<T>, HeadView<T>, HeadView<T>, const Arithmetic<T>*, \
                                   HeadView<T>, MutableHeadView<T>, MutableHeadView<T>, MutableHeadView<T>);
GRADUS_INSTANTIATE(double)
GRADUS_INSTANTIATE(float)
GRADUS_INSTANTIATE(bfloat16)
#undef GRADUS_INSTANTIATE

}  // namespace gradus::cpu
