#include "framework/kernels/cpu/attention.h"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "framework/kernels/cpu/lanes.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/prefetch.h"
#include "framework/kernels/cpu/random_words.h"
#include "framework/kernels/cpu/small_gemm.h"
#include "framework/kernels/shared/scalar_math.h"

namespace gradus::cpu {
namespace {

constexpr std::int64_t tile_rows = 32;
constexpr std::int64_t rows_ahead = 64;

/// Columns of a matrix with room for whole lanes.
template <class A>
std::int64_t padded(std::int64_t columns) {
  return (columns + lane_count<A> - 1) / lane_count<A> * lane_count<A>;
}

/// Memory of the calling thread for the matrices of one piece of work; what the last piece took is taken again.
template <class A>
class Workspace {
 public:
  explicit Workspace(std::int64_t elements) {
    thread_local std::vector<A> memory;
    const std::size_t needed = elements + lane_count<A>;
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

/// For each lane all bits or none.
template <class A>
using Mask = decltype(Lanes<A>{} < Lanes<A>{});

/// The first `count` lanes, or all.
template <class A>
Mask<A> first_lanes(std::int64_t count) {
  using Integer = std::remove_cvref_t<decltype(Mask<A>{}[0])>;
  return lane_numbers<Integer>() < static_cast<Integer>(std::min(count, lane_count<A>));
}

/// Zeros behind the lanes that hold x[0..seen), as far as `room`.
template <class A>
void clear_rest(A* x, std::int64_t seen, std::int64_t room) {
  for (std::int64_t j = padded<A>(seen); j < room; j += lane_count<A>) store_lanes<A>(x + j, Lanes<A>{});
}

template <class A>
struct SoftmaxRow {
  A peak, sum;
  A log_sum() const { return peak + std::log(sum); }
};

/// The scores x[0..seen) become e^(x - peak) where keep(j, ...) says so, else 0, as up to x[room) with whole lanes;
/// returns the peak and the sum of all of them, kept or not.
template <class A, class Keep>
SoftmaxRow<A> exponentiate_row(A* x, std::int64_t seen, std::int64_t room, const Keep& keep) {
  constexpr A none = -std::numeric_limits<A>::infinity();
  Lanes<A> peaks = Lanes<A>{} + none, sums{};
  for (std::int64_t j = 0; j < seen; j += lane_count<A>) {
    const Lanes<A> scores = first_lanes<A>(seen - j) ? load_lanes(x + j) : Lanes<A>{} + none;
    peaks = scores > peaks ? scores : peaks;
  }
  const A peak = largest_of_lanes<A>(peaks);
  for (std::int64_t j = 0; j < seen; j += lane_count<A>) {
    const Lanes<A> e = first_lanes<A>(seen - j) ? exp_of_negative(load_lanes(x + j) - peak) : Lanes<A>{};
    sums += e;
    store_lanes<A>(x + j, keep(j) ? e : Lanes<A>{});
  }
  clear_rest(x, seen, room);
  return {peak, sum_of_lanes<A>(sums)};
}

/// The scores p[0..seen) become the weights e^(p - log_sum), 0 unless kept; dL/d(kept weight), in ds, becomes dL/ds.
/// Both 0 up to `room`.
template <class A, class Keep>
void differentiate_row(A* p, A* ds, std::int64_t seen, std::int64_t room, A log_sum, const Keep& keep) {
  Lanes<A> sums{};  // of p dL/dp
  for (std::int64_t j = 0; j < seen; j += lane_count<A>) {
    const Mask<A> inside = first_lanes<A>(seen - j);
    const Lanes<A> weights = inside ? exp_of_negative(load_lanes(p + j) - log_sum) : Lanes<A>{};
    const Lanes<A> gradients = inside & keep(j) ? load_lanes(ds + j) : Lanes<A>{};
    sums += weights * gradients;
    store_lanes(p + j, weights);
    store_lanes(ds + j, gradients);
  }
  const A dot = sum_of_lanes<A>(sums);
  for (std::int64_t j = 0; j < seen; j += lane_count<A>) {
    const Lanes<A> weights = load_lanes(p + j);
    store_lanes<A>(ds + j, weights * (load_lanes(ds + j) - dot));
    store_lanes<A>(p + j, keep(j) ? weights : Lanes<A>{});
  }
  clear_rest(p, seen, room);
  clear_rest(ds, seen, room);
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

/// Calls body(keep), where keep(j) says which of the weights of a query from j on the dropout spares.
template <class A, class Body>
decltype(auto) with_dropout(const AttentionShape& s, const AttentionSegment& segment, std::int64_t pair,
                            std::int64_t query, std::int64_t n, Body&& body) {
  if (s.dropout == 0) return body([](std::int64_t) { return ~Mask<A>{}; });
  const std::uint32_t threshold = random::dropout_threshold(s.dropout);
  const std::uint32_t* words = row_words(s, segment, pair, query, n);
  return body([=](std::int64_t j) {
    Mask<A> kept;
    for (std::int64_t lane = 0; lane < lane_count<A>; ++lane) kept[lane] = words[j + lane] >= threshold ? -1 : 0;
    return kept;
  });
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
    prefetch(from + rows_ahead * view.row_stride, 0, width);
#pragma omp simd
    for (std::int64_t d = 0; d < width; ++d) to[d] = A(from[d]) * factor;
    std::fill(to + width, to + stride, A(0));
  }
}

/// (count, padded width) to rows of a head, each times factor_of(row).
template <class T, class Factor, class A = Arithmetic<T>>
void store_rows(const A* from, MutableHeadView<T> view, const AttentionShape& s, std::int64_t pair, std::int64_t first,
                std::int64_t count, std::int64_t width, const Factor& factor_of) {
  for (std::int64_t row = 0; row < count; ++row, from += padded<A>(width)) {
    T* to = at(view, s, pair, first + row);
    const A factor = factor_of(row);
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

/// x[0..width) times y[0..width).
template <class T, class A = Arithmetic<T>>
A dot_product(const T* x, const A* y, std::int64_t width) {
  Lanes<A> sums{};
  std::int64_t d = 0;
  for (; d + lane_count<A> <= width; d += lane_count<A>) {
    Lanes<A> wide;
    for (std::int64_t lane = 0; lane < lane_count<A>; ++lane) wide[lane] = A(x[d + lane]);
    sums += wide * load_lanes(y + d);
  }
  A rest = 0;
  for (; d < width; ++d) rest += A(x[d]) * y[d];
  return sum_of_lanes<A>(sums) + rest;
}

/// A segment of one query, as decoding has them: keys and values are read where they lie, since they are used once.
template <class T, class A = Arithmetic<T>>
void attend_once(const AttentionShape& s, const AttentionSegment& segment, std::int64_t pair, HeadView<T> q,
                 HeadView<T> k, HeadView<T> v, MutableHeadView<T> out, A* log_sums) {
  const std::int64_t seen = visible_keys(s, segment, 0, 1), row = pair * s.queries + segment.first_query;
  const std::int64_t width = padded<A>(s.width), value_width = padded<A>(s.value_width), room = padded<A>(seen);
  Workspace<A> workspace(width + room + value_width);
  A* const query = workspace.matrix(1, width);
  A* const weights = workspace.matrix(1, room);
  A* const mixed = workspace.matrix(1, value_width);
  load_rows(q, s, pair, segment.first_query, 1, s.width, A(s.scale), query);
  for (std::int64_t j = 0; j < seen; ++j)
    weights[j] = dot_product(at(k, s, pair, segment.first_key + j), query, s.width);
  const SoftmaxRow<A> softmax = with_dropout<A>(
      s, segment, pair, 0, seen, [&](const auto& keep) { return exponentiate_row(weights, seen, room, keep); });
  log_sums[row] = softmax.log_sum();
  std::fill_n(mixed, value_width, A(0));
  for (std::int64_t j = 0; j < seen; ++j) {
    const T* value = at(v, s, pair, segment.first_key + j);
#pragma omp simd
    for (std::int64_t d = 0; d < s.value_width; ++d) mixed[d] += weights[j] * A(value[d]);
  }
  store_rows(mixed, out, s, pair, segment.first_query, 1, s.value_width,
             [&](std::int64_t) { return A(1 / (1 - s.dropout)) / softmax.sum; });
}

}  // namespace

template <class T>
void attention_forward(const AttentionShape& s, HeadView<T> q, HeadView<T> k, HeadView<T> v, MutableHeadView<T> out,
                       Arithmetic<T>* log_sums) {
  using A = Arithmetic<T>;
  const A keep_scale = A(1 / (1 - s.dropout));
  const std::int64_t width = padded<A>(s.width), value_width = padded<A>(s.value_width);
  for_each_segment(s, [&](std::int64_t pair, const AttentionSegment& segment) {
    if (segment.queries == 1) return attend_once(s, segment, pair, q, k, v, out, log_sums);
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
      A factors[tile_rows];
      for (std::int64_t i = 0; i < rows; ++i) {
        A* p = weights + i * room;
        const std::int64_t seen = visible_keys(s, segment, first + i, 1);
        const SoftmaxRow<A> row = with_dropout<A>(s, segment, pair, first + i, seen, [&](const auto& keep) {
          return exponentiate_row(p, seen, visible, keep);
        });
        log_sums[pair * s.queries + query + i] = row.log_sum();
        factors[i] = keep_scale / row.sum;
      }
      small_gemm(rows, s.value_width, visible, weights, room, 1, values, value_width, mixed, value_width);
      store_rows(mixed, out, s, pair, query, rows, s.value_width, [&](std::int64_t row) { return factors[row]; });
    }
  });
}

template <class T>
void attention_backward(const AttentionShape& s, HeadView<T> q, HeadView<T> k, HeadView<T> v,
                        const Arithmetic<T>* log_sums, HeadView<T> g, MutableHeadView<T> dq, MutableHeadView<T> dk,
                        MutableHeadView<T> dv) {
  using A = Arithmetic<T>;
  const A keep_scale = A(1 / (1 - s.dropout));
  const std::int64_t width = padded<A>(s.width), value_width = padded<A>(s.value_width);
  const auto unscaled = [](std::int64_t) { return A(1); };
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
      load_rows(g, s, pair, query, rows, s.value_width, keep_scale, cotangents);
      small_gemm(rows, visible, s.width, queries, width, 1, keys_transposed, room, weights, room);
      small_gemm(rows, visible, s.value_width, cotangents, value_width, 1, values_transposed, room, weight_gradients,
                 room);
      for (std::int64_t i = 0; i < rows; ++i) {
        A *p = weights + i * room, *ds = weight_gradients + i * room;
        const std::int64_t seen = visible_keys(s, segment, first + i, 1);
        const A log_sum = log_sums[pair * s.queries + query + i];
        with_dropout<A>(s, segment, pair, first + i, seen,
                        [&](const auto& keep) { differentiate_row(p, ds, seen, visible, log_sum, keep); });
      }
      small_gemm(rows, s.width, visible, weight_gradients, room, 1, keys, width, query_gradients, width);
      store_rows(query_gradients, dq, s, pair, query, rows, s.width, [&](std::int64_t) { return A(s.scale); });
      small_gemm(visible, s.width, rows, weight_gradients, 1, room, queries, width, key_gradients, width, true);
      small_gemm(visible, s.value_width, rows, weights, 1, room, cotangents, value_width, value_gradients, value_width,
                 true);
    }
    store_rows(key_gradients, dk, s, pair, segment.first_key, segment.keys, s.width, unscaled);
    store_rows(value_gradients, dv, s, pair, segment.first_key, segment.keys, s.value_width, unscaled);
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
