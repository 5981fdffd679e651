#include "framework/kernels/cpu/attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include "framework/kernels/cpu/gemm.h"
#include "framework/kernels/cpu/parallel.h"
#include "framework/kernels/cpu/random_words.h"
#include "framework/kernels/shared/scalar_math.h"

namespace gradus::cpu {
namespace {

constexpr std::int64_t tile_rows = 64;

/// Per-thread memory that grows to the largest tile asked for.
template <class T>
T* scratch(int slot, std::int64_t count) {
  thread_local std::vector<T> buffers[3];
  if (static_cast<std::int64_t>(buffers[slot].size()) < count) buffers[slot].resize(count);
  return buffers[slot].data();
}

/// Keys of the segment that its queries first..first+rows-1 can see.
std::int64_t visible_keys(const AttentionShape& s, const AttentionSegment& segment, std::int64_t first,
                          std::int64_t rows) {
  return s.causal ? std::min(segment.keys, first + rows) : segment.keys;
}

/// x[0..n) becomes e^(x - peak) / sum; returns peak + ln sum.
template <class T>
T softmax_in_place(T* x, std::int64_t n) {
  T peak = -std::numeric_limits<T>::infinity();
  for (std::int64_t j = 0; j < n; ++j) peak = x[j] > peak ? x[j] : peak;
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) {
    x[j] = functions::exp(x[j] - peak);
    sum += x[j];
  }
  const T inverse = T(1) / sum;
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) x[j] *= inverse;
  return peak + std::log(sum);
}

/// The words that decide over the first n weights of a segment's query. Philox gives them in fours.
const std::uint32_t* row_words(const AttentionShape& s, const AttentionSegment& segment, std::int64_t pair,
                               std::int64_t query, std::int64_t n) {
  const std::int64_t skipped = segment.first_key % 4, row = pair * s.queries + segment.first_query + query;
  std::uint32_t* words = scratch<std::uint32_t>(0, segment.keys + 8);
  random_words(s.seed, s.stream, row * s.word_stride() + segment.first_key - skipped, n + skipped, words);
  return words + skipped;
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

}  // namespace

template <class T>
void attention_forward(const AttentionShape& s, HeadView<T> q, HeadView<T> k, HeadView<T> v, MutableHeadView<T> out, T* log_sums) {
  const std::uint32_t threshold = dropout_threshold(s.dropout);
  const T keep_scale = T(1 / (1 - s.dropout));
  for_each_segment(s, [&](std::int64_t pair, const AttentionSegment& segment) {
    for (std::int64_t first = 0; first < segment.queries; first += tile_rows) {
      const std::int64_t rows = std::min(tile_rows, segment.queries - first),
                         keys = visible_keys(s, segment, first, rows);
      const std::int64_t query = segment.first_query + first;
      T* weights = scratch<T>(1, tile_rows * segment.keys);  // (rows, keys)
      gemm_on_this_thread<T>(rows, keys, s.width, T(s.scale), {at(q, s, pair, query), q.row_stride},
                             {at(k, s, pair, segment.first_key), k.row_stride, true}, T(0), weights, keys);
      for (std::int64_t i = 0; i < rows; ++i) {
        T* row = weights + i * keys;
        const std::int64_t seen = visible_keys(s, segment, first + i, 1);
        log_sums[pair * s.queries + query + i] = softmax_in_place(row, seen);
        std::fill(row + seen, row + keys, T(0));
        if (s.dropout > 0) {
          const std::uint32_t* words = row_words(s, segment, pair, first + i, seen);
#pragma omp simd
          for (std::int64_t j = 0; j < seen; ++j) row[j] *= words[j] < threshold ? T(0) : keep_scale;
        }
      }
      gemm_on_this_thread<T>(rows, s.value_width, keys, T(1), {weights, keys},
                             {at(v, s, pair, segment.first_key), v.row_stride}, T(0), at(out, s, pair, query),
                             out.row_stride);
    }
  });
}

template <class T>
void attention_backward(const AttentionShape& s, HeadView<T> q, HeadView<T> k, HeadView<T> v, const T* log_sums, HeadView<T> g,
                        MutableHeadView<T> dq, MutableHeadView<T> dk, MutableHeadView<T> dv) {
  const std::uint32_t threshold = dropout_threshold(s.dropout);
  const T keep_scale = T(1 / (1 - s.dropout));
  for_each_segment(s, [&](std::int64_t pair, const AttentionSegment& segment) {
    for (std::int64_t j = 0; j < segment.keys; ++j) {  // keys that no query sees get zeros
      std::fill_n(at(dk, s, pair, segment.first_key + j), s.width, T(0));
      std::fill_n(at(dv, s, pair, segment.first_key + j), s.value_width, T(0));
    }
    for (std::int64_t first = 0; first < segment.queries; first += tile_rows) {
      const std::int64_t rows = std::min(tile_rows, segment.queries - first),
                         keys = visible_keys(s, segment, first, rows);
      const std::int64_t query = segment.first_query + first;
      T* weights = scratch<T>(1, tile_rows * segment.keys);   // (rows, keys): p, then p times the dropout factors
      T* gradient = scratch<T>(2, tile_rows * segment.keys);  // (rows, keys): dL/dp, then dL/ds
      gemm_on_this_thread<T>(rows, keys, s.width, T(s.scale), {at(q, s, pair, query), q.row_stride},
                             {at(k, s, pair, segment.first_key), k.row_stride, true}, T(0), weights, keys);
      gemm_on_this_thread<T>(rows, keys, s.value_width, T(1), {at(g, s, pair, query), g.row_stride},
                             {at(v, s, pair, segment.first_key), v.row_stride, true}, T(0), gradient, keys);
      for (std::int64_t i = 0; i < rows; ++i) {
        T* p = weights + i * keys;
        T* ds = gradient + i * keys;
        const std::int64_t seen = visible_keys(s, segment, first + i, 1);
        const T log_sum = log_sums[pair * s.queries + query + i];
        const std::uint32_t* words = s.dropout > 0 ? row_words(s, segment, pair, first + i, seen) : nullptr;
        T dot = 0;  // sum over j of p dL/dp
        if (words) {
#pragma omp simd reduction(+ : dot)
          for (std::int64_t j = 0; j < seen; ++j) {
            const T factor = words[j] < threshold ? T(0) : keep_scale;
            p[j] = functions::exp(p[j] - log_sum);
            ds[j] *= factor;
            dot += p[j] * ds[j];
          }
#pragma omp simd
          for (std::int64_t j = 0; j < seen; ++j) {
            ds[j] = p[j] * (ds[j] - dot);
            p[j] *= words[j] < threshold ? T(0) : keep_scale;
          }
        } else {
#pragma omp simd reduction(+ : dot)
          for (std::int64_t j = 0; j < seen; ++j) {
            p[j] = functions::exp(p[j] - log_sum);
            dot += p[j] * ds[j];
          }
#pragma omp simd
          for (std::int64_t j = 0; j < seen; ++j) ds[j] = p[j] * (ds[j] - dot);
        }
        std::fill(p + seen, p + keys, T(0));
        std::fill(ds + seen, ds + keys, T(0));
      }
      gemm_on_this_thread<T>(rows, s.width, keys, T(s.scale), {gradient, keys},
                             {at(k, s, pair, segment.first_key), k.row_stride}, T(0), at(dq, s, pair, query),
                             dq.row_stride);
      gemm_on_this_thread<T>(keys, s.width, rows, T(s.scale), {gradient, keys, true},
                             {at(q, s, pair, query), q.row_stride}, T(1), at(dk, s, pair, segment.first_key),
                             dk.row_stride);
      gemm_on_this_thread<T>(keys, s.value_width, rows, T(1), {weights, keys, true},
                             {at(g, s, pair, query), g.row_stride}, T(1), at(dv, s, pair, segment.first_key),
                             dv.row_stride);
    }
  });
}

template void attention_forward(const AttentionShape&, HeadView<float>, HeadView<float>, HeadView<float>, MutableHeadView<float>, float*);
template void attention_forward(const AttentionShape&, HeadView<double>, HeadView<double>, HeadView<double>, MutableHeadView<double>, double*);
template void attention_backward(const AttentionShape&, HeadView<float>, HeadView<float>, HeadView<float>, const float*, HeadView<float>,
                                 MutableHeadView<float>, MutableHeadView<float>, MutableHeadView<float>);
template void attention_backward(const AttentionShape&, HeadView<double>, HeadView<double>, HeadView<double>, const double*, HeadView<double>,
                                 MutableHeadView<double>, MutableHeadView<double>, MutableHeadView<double>);

}  // namespace gradus::cpu
